"""Documents in the form of PyPI's JSON API."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import urljoin

from proxy.export.export import ExportOptions
from proxy.export.file_list import read_file_list
from proxy.export.simple_pages import flat_links, listed_links, tree_links
from tests.support.content import sha256
from tests.support.distributions import make_sdist, make_wheel, wheel_metadata
from tests.support.exports import content, described, export_folder, export_index

MOMENT = 1_700_000_000  # 2023-11-14T22:13:20Z


def document(root: Path, path: str) -> Any:
    return json.loads((root / "pypi" / path / "json").read_bytes())


async def exported(folder: Path, options: ExportOptions | None = None) -> Path:
    for path in (folder / "source").rglob("*"):
        os.utime(path, (MOMENT, MOMENT))
    await export_folder(folder / "source", folder / "tree", options)
    return folder / "tree"


async def test_a_project_has_its_newest_release_and_the_files_of_all(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    wheel = make_wheel(tmp_path / "source", "foo", "2.0", requires_python=">=3.8", tag="cp311-x-y")
    sdist = make_sdist(tmp_path / "source", "foo", "2.0")
    make_sdist(tmp_path / "source", "foo", "3.0rc1")
    found = document(await exported(tmp_path), "foo")
    assert found["info"]["version"] == "2.0"
    assert {version: len(files) for version, files in found["releases"].items()} == {
        **{"1.0": 1, "2.0": 2, "3.0rc1": 1}
    }
    assert found["urls"] == found["releases"]["2.0"]
    assert (found["vulnerabilities"], found["last_serial"]) == ([], 0)
    first, second = found["urls"]
    digest = sha256(wheel.read_bytes())
    assert first == {
        "comment_text": None,
        "core-metadata": {"sha256": hashlib.sha256(wheel_metadata(wheel)).hexdigest()},
        "digests": {"sha256": digest},
        "downloads": -1,
        "filename": wheel.name,
        "has_sig": False,
        "md5_digest": None,
        "packagetype": "bdist_wheel",
        "python_version": "cp311",
        "requires_python": ">=3.8",
        "size": wheel.stat().st_size,
        "upload_time": "2023-11-14T22:13:20",
        "upload_time_iso_8601": "2023-11-14T22:13:20.000000Z",
        "url": f"../../files/foo/{digest}/{wheel.name}",
        "yanked": False,
        "yanked_reason": None,
    }
    assert (second["filename"], second["packagetype"]) == (sdist.name, "sdist")
    assert second["python_version"] == "source"


async def test_info_has_the_core_metadata_of_its_own_release(tmp_path: Path) -> None:
    source = tmp_path / "source"
    described(source, "Foo.Bar", "1.0", "old", Summary="Was.")
    described(
        *(source, "Foo.Bar", "2.0", "# Text", "text/markdown"),
        Summary="Does foo.",
        Author_email="Ada <ada@example.com>",
        License_Expression="MIT",
        Keywords="a,b",
        Requires_Dist="bar>=2",
        Project_URL="Home, https://foo.example.com/",
        Classifier="Topic :: Software Development",
    )
    root = await exported(tmp_path)
    info = document(root, "foo-bar")["info"]
    assert document(root, "foo-bar/2.0")["info"] == info
    assert document(root, "foo-bar/1.0")["info"]["summary"] == "Was."
    assert {key: info[key] for key in ("name", "version", "summary", "description")} == {
        **{"name": "Foo.Bar", "version": "2.0", "summary": "Does foo.", "description": "# Text"}
    }
    assert info["description_content_type"] == "text/markdown"
    assert info["author_email"] == "Ada <ada@example.com>"
    assert (info["license_expression"], info["keywords"]) == ("MIT", "a,b")
    assert info["requires_dist"] == ["bar>=2"]
    assert info["project_urls"] == {"Home": "https://foo.example.com/"}
    assert info["classifiers"] == ["Topic :: Software Development"]
    assert (info["home_page"], info["provides_extra"], info["yanked"]) == ("", None, False)


async def test_every_address_leads_to_the_file(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0+local.1")
    root = await exported(tmp_path)
    documents = [path for path in content(root) if path.startswith("pypi/")]
    assert sorted(documents) == ["pypi/foo/1.0+local.1/json", "pypi/foo/json"]
    for path in documents:
        (file,) = json.loads((root / path).read_bytes())["urls"]
        target = urljoin(f"/{path}", file["url"]).replace("%2B", "+").lstrip("/")
        assert (root / target).is_file(), path


async def test_addresses_elsewhere_stay_as_they_are(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    for number, links in enumerate(
        (tree_links("https://f.example.com/x/"), tree_links("/files/"), flat_links("../../pool/"))
    ):
        await export_folder(tmp_path / "source", tmp_path / str(number), ExportOptions(None, links))
        whole = document(tmp_path / str(number), "foo")["urls"][0]["url"]
        release = document(tmp_path / str(number), "foo/1.0")["urls"][0]["url"]
        assert release == (f"../{whole}" if whole.startswith("..") else whole)


async def test_a_yanked_release_says_why(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "source", "foo", "1.0")
    wheel.with_name(f"{wheel.name}.yanked").write_text("it <broke>")
    found = document(await exported(tmp_path), "foo/1.0")
    assert (found["info"]["yanked"], found["info"]["yanked_reason"]) == (True, "it <broke>")
    assert (found["urls"][0]["yanked"], found["urls"][0]["yanked_reason"]) == (True, "it <broke>")
    assert "releases" not in found


async def test_listed_files_have_documents_without_metadata(tmp_path: Path) -> None:
    lines = (
        '{"filename": "foo-1.0-py3-none-any.whl", "url": "https://f.example.com/'
        'foo-1.0-py3-none-any.whl", "hash": "md5=' + "a" * 32 + '", "requires-python": ">=3.9"}\n'
    )
    (tmp_path / "names").write_text(lines)
    index = read_file_list(tmp_path / "names", None)
    await export_index(index, tmp_path / "tree", ExportOptions(None, listed_links))
    found = document(tmp_path / "tree", "foo/1.0")
    assert (found["info"]["name"], found["info"]["requires_python"]) == ("foo", ">=3.9")
    assert found["urls"][0]["md5_digest"] == "a" * 32
    assert found["urls"][0]["url"] == "https://f.example.com/foo-1.0-py3-none-any.whl"


async def test_a_version_that_is_none_has_no_document_of_its_own(tmp_path: Path) -> None:
    names = ("foo-1.0.tar.gz", "foo-2.json.tar.gz", "foo-1..tar.gz")
    (tmp_path / "names").write_text("\n".join(names))
    index = read_file_list(tmp_path / "names", "https://f.example.com/")
    await export_index(index, tmp_path / "tree", ExportOptions(None, listed_links))
    documents = sorted(path for path in content(tmp_path / "tree") if path.startswith("pypi/"))
    assert documents == ["pypi/foo/1.0/json", "pypi/foo/json"]


async def test_metadata_with_too_many_fields_is_left_out(tmp_path: Path) -> None:
    lines = ["Metadata-Version: 2.1", "Name: foo", "Version: 1.0"]
    lines += [f"X-{number}: a" for number in range(200)]
    member = {"foo-1.0.dist-info/METADATA": "\n".join(lines).encode()}
    make_wheel(tmp_path / "source", "foo", "1.0", files=member)
    found = document(await exported(tmp_path), "foo")
    assert (found["info"]["name"], found["info"]["summary"]) == ("foo", "")
