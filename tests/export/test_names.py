"""Lists of files that are on another server."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from proxy.errors import NoSuchFile, NoSuchProject
from proxy.export.export import ExportOptions
from proxy.export.file_list import InvalidFileList, read_file_list
from proxy.export.simple_pages import listed_links
from proxy.model import File, ProjectName
from tests.support.exports import BAR, FOO, content, export_index, reproducible

BASE = "https://files.example.com/pool/"
SHA256 = "a" * 64
MD5 = "b" * 32


def written(path: Path, *lines: Any) -> Path:
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    return path


async def one(path: Path, **keys: Any) -> File:
    line = {"filename": "foo-1.0-py3-none-any.whl", **keys}
    (file,) = (await read_file_list(written(path, line), BASE).page(FOO)).files
    return file


async def test_every_key_of_the_simple_api(tmp_path: Path) -> None:
    file = await one(
        tmp_path / "names",
        **{"hashes": {"sha256": SHA256.upper()}, "size": 7, "requires-python": ">=3.8"},
        **{"upload-time": "2024-01-02T03:04:05Z", "yanked": True, "core-metadata": True},
        **{"gpg-sig": False},
    )
    assert file == File(
        "foo-1.0-py3-none-any.whl",
        f"{BASE}foo-1.0-py3-none-any.whl",
        {"sha256": SHA256},
        7,
        ">=3.8",
        "2024-01-02T03:04:05Z",
        True,
        True,
    )


async def test_the_keys_that_lists_of_static_indexes_have(tmp_path: Path) -> None:
    file = await one(
        tmp_path / "names",
        hash=f"md5={MD5}",
        requires_python=">=3.6",
        upload_timestamp=1512539924,
        uploaded_by="somebody",
        requires_dist=["bar"],
        yanked_reason="broken",
        core_metadata=f"sha256={SHA256}",
    )
    assert file.hashes == {"md5": MD5}
    assert file.requires_python == ">=3.6"
    assert file.uploaded == "2017-12-06T05:58:44.000000Z"
    assert file.yanked == "broken"
    assert file.metadata == {"sha256": SHA256}


async def test_null_counts_as_absent(tmp_path: Path) -> None:
    keys = ("hash", "requires_python", "upload_timestamp", "yanked_reason", "core_metadata", "url")
    file = await one(tmp_path / "names", **dict.fromkeys(keys))
    assert file == File("foo-1.0-py3-none-any.whl", f"{BASE}foo-1.0-py3-none-any.whl")


async def test_a_line_may_name_its_address(tmp_path: Path) -> None:
    url = "https://elsewhere.example.com/x/foo-1.0-py3-none-any.whl"
    assert (await one(tmp_path / "names", url=url)).url == url


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        ({"filename": "foo.txt"}, "names no project"),
        ({"filename": "../foo-1.0.tar.gz"}, "names no project"),
        ({"filename": 1}, "Expected `str`"),
        ({"hash": "sha256=abc"}, "hash is malformed"),
        ({"hash": "nonsense"}, "hash is malformed"),
        ({"hashes": {"sha256": SHA256, "md5": "x"}}, "hash is malformed"),
        ({"size": -1}, "size is malformed"),
        ({"size": "1"}, "Expected `int"),
        ({"requires-python": "three"}, "not a specifier"),
        ({"upload-time": "yesterday"}, "upload-time is malformed"),
        ({"upload_timestamp": 1e300}, "not a Unix time"),
        ({"core-metadata": "sha256=x"}, "core-metadata is malformed"),
        ({"url": "javascript:alert(1)"}, "url is not an address"),
        ({"url": "https://files.example.com/other-1.0.tar.gz"}, "url is not an address"),
    ],
)
def test_values_that_break_clients_are_refused_with_their_line(
    tmp_path: Path, keys: dict[str, Any], problem: str
) -> None:
    good = {"filename": "foo-1.0.tar.gz"}
    path = written(tmp_path / "names", good, {"filename": "foo-1.0.tar.gz", **keys})
    with pytest.raises(InvalidFileList, match=f"line 2: .*{problem}"):
        read_file_list(path, BASE)


async def test_a_line_may_be_a_name_alone(tmp_path: Path) -> None:
    """As `ls` writes them."""
    (tmp_path / "names").write_text("foo-1.0.tar.gz\r\n\n bar-2.0-py3-none-any.whl\n")
    listed = read_file_list(tmp_path / "names", BASE)
    assert (await listed.page(FOO)).files == (File("foo-1.0.tar.gz", f"{BASE}foo-1.0.tar.gz"),)
    (bar,) = (await listed.page(BAR)).files
    assert bar.url == f"{BASE}bar-2.0-py3-none-any.whl"


def test_bytes_that_are_no_text_are_refused_with_their_line(tmp_path: Path) -> None:
    (tmp_path / "names").write_bytes(b"foo-1.0.tar.gz\n\xff\xfe-1.0.tar.gz\n")
    with pytest.raises(InvalidFileList, match="line 2: "):
        read_file_list(tmp_path / "names", BASE)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("nonsense", "'nonsense' names no project and version"),
        ("pool/foo-1.0.tar.gz", "names no project and version"),
        ("[]", "names no project and version"),
        ('"foo-1.0.tar.gz"', "names no project and version"),
        ("{}", "missing required field `filename`"),
        ("{nonsense", "JSON is malformed"),
        ('{"filename": "foo-1.0.tar.gz"} {}', "JSON is malformed"),
    ],
)
def test_a_line_that_is_no_file_is_refused(tmp_path: Path, line: str, problem: str) -> None:
    (tmp_path / "names").write_text(f"\n{line}\n")
    with pytest.raises(InvalidFileList, match=f"line 2: .*{problem}"):
        read_file_list(tmp_path / "names", BASE)


def test_without_a_base_every_line_has_to_name_its_address(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileList, match="no --base-url"):
        read_file_list(written(tmp_path / "names", {"filename": "foo-1.0.tar.gz"}), None)


def test_a_list_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidFileList, match="cannot be read"):
        read_file_list(tmp_path / "names", BASE)


async def test_the_later_of_two_lines_of_a_file_counts(tmp_path: Path) -> None:
    lines = [{"filename": "foo-1.0.tar.gz"}, {"filename": "foo-1.0.tar.gz", "yanked": True}]
    (file,) = (await read_file_list(written(tmp_path / "names", *lines), BASE).page(FOO)).files
    assert file.yanked is True


async def test_the_order_of_lines_does_not_matter(tmp_path: Path) -> None:
    names = ["foo-1.10.tar.gz", "foo-1.9.tar.gz", "foo-1.9-py3-none-any.whl", "Bar-1.tar.gz"]
    lines = [{"filename": name} for name in names]
    index = read_file_list(written(tmp_path / "names", *lines), BASE)
    page = await index.page(FOO)
    assert [file.filename for file in page.files] == [names[2], names[1], names[0]]
    assert page.versions == ("1.9", "1.10")
    assert await index.projects() == {FOO, BAR}
    for root in (tmp_path / "one", tmp_path / "two"):
        index = read_file_list(written(tmp_path / "names", *lines), BASE)
        await export_index(index, root, ExportOptions(None, listed_links))
        lines.reverse()
    assert reproducible(tmp_path / "one") == reproducible(tmp_path / "two")


async def test_only_pages_are_served(tmp_path: Path) -> None:
    index = read_file_list(written(tmp_path / "names", {"filename": "foo-1.0.tar.gz"}), BASE)
    with pytest.raises(NoSuchFile):
        await index.file(FOO, "foo-1.0.tar.gz")
    with pytest.raises(NoSuchProject):
        await index.page(ProjectName("baz"))


async def test_a_tree_of_names_has_pages_for_installers_and_people(tmp_path: Path) -> None:
    line = {"filename": "foo-1.0+a-py3-none-any.whl", "hash": f"sha256={SHA256}", "size": 9}
    index = read_file_list(written(tmp_path / "names", {**line, "core_metadata": True}), BASE)
    await export_index(index, tmp_path / "tree", ExportOptions(None, listed_links))
    found = content(tmp_path / "tree")
    assert not [path for path in found if path.startswith("files/")]
    (file,) = json.loads(found["simple/foo/index.json"])["files"]
    assert file == {
        "filename": "foo-1.0+a-py3-none-any.whl",
        "url": f"{BASE}foo-1.0%2Ba-py3-none-any.whl",
        "hashes": {"sha256": SHA256},
        "core-metadata": True,
        "size": 9,
    }
    assert f'href="{BASE}foo-1.0%2Ba-'.encode() in found["simple/foo/index.html"]
    assert f'href="{BASE}foo-1.0%2Ba-'.encode() in found["project/foo/index.html"]
