"""Whole exports: the content of the tree, and the effect of a second run."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest

from proxy.export.export import ExportOptions
from proxy.export.placing import Placement
from proxy.export.selection import NotCached
from proxy.export.simple_pages import flat_links, tree_links
from proxy.export.tree import Changes, FileAltered
from proxy.model import PROVENANCE, ProjectName
from tests.support.content import sha256
from tests.support.distributions import make_sdist, make_wheel, wheel_metadata
from tests.support.exports import (
    BAR,
    FOO,
    cached,
    content,
    described,
    export_folder,
    export_index,
    fetch,
    inodes,
    reproducible,
)
from tests.support.stored import stored_keys, stored_path
from tests.support.upstream import Upstream

MOMENT = 1_700_000_000  # 2023-11-14T22:13:20Z
METADATA = b"Metadata-Version: 2.1\nName: Foo\nVersion: 1.0\nSummary: Does foo.\n\nHello."


def shelf(folder: Path) -> Path:
    """Two projects with constant content and times."""
    member = "foo-1.0.dist-info/METADATA"
    make_wheel(folder, "foo", "1.0", files={member: METADATA})
    make_sdist(folder, "foo", "2.0", requires_python=">=3.8")
    make_wheel(folder / "bar", "bar", "1.0+local.1")
    (folder / "foo-2.0.tar.gz.yanked").write_text("it <broke>")
    for file in folder.rglob("*"):
        os.utime(file, (MOMENT, MOMENT))
    return folder


async def test_a_small_tree_to_the_last_byte(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    done = await export_folder(source, root)
    wheel = (source / "foo-1.0-py3-none-any.whl").read_bytes()
    sdist = (source / "foo-2.0.tar.gz").read_bytes()
    bar = (source / "bar" / "bar-1.0+local.1-py3-none-any.whl").read_bytes()
    bar_metadata = wheel_metadata(source / "bar" / "bar-1.0+local.1-py3-none-any.whl")
    found = content(root)
    people = {"index.html", "project/foo/index.html", "project/bar/index.html"}
    others = {path for path in found if path.startswith(("changes/", "pypi/"))}
    assert {path: found[path] for path in sorted(found.keys() - people - others)} == {
        f"files/bar/{sha256(bar)}/bar-1.0+local.1-py3-none-any.whl": bar,
        f"files/bar/{sha256(bar)}/bar-1.0+local.1-py3-none-any.whl.metadata": bar_metadata,
        f"files/foo/{sha256(wheel)}/foo-1.0-py3-none-any.whl": wheel,
        f"files/foo/{sha256(wheel)}/foo-1.0-py3-none-any.whl.metadata": METADATA,
        f"files/foo/{sha256(sdist)}/foo-2.0.tar.gz": sdist,
        "simple/index.html": b"""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta name="pypi:repository-version" content="1.4">
    <title>Simple index</title>
  </head>
  <body>
    <h1>Simple index</h1>
    <a href="bar/">bar</a><br>
    <a href="foo/">foo</a><br>
  </body>
</html>
""",
        "simple/index.json": b'{"meta":{"api-version":"1.4"},'
        b'"projects":[{"name":"bar"},{"name":"foo"}]}',
        "simple/bar/index.html": found["simple/bar/index.html"],
        "simple/bar/index.json": found["simple/bar/index.json"],
        "simple/foo/index.html": f"""<!DOCTYPE html>
<html lang="en">
  <head>
    <meta name="pypi:repository-version" content="1.4">
    <title>Links for foo</title>
  </head>
  <body>
    <h1>Links for foo</h1>
    <a href="../../files/foo/{sha256(wheel)}/foo-1.0-py3-none-any.whl#sha256={sha256(wheel)}" \
data-core-metadata="sha256={sha256(METADATA)}" data-dist-info-metadata="sha256={sha256(METADATA)}" \
data-size="{len(wheel)}" data-upload-time="2023-11-14T22:13:20.000000Z">\
foo-1.0-py3-none-any.whl</a><br>
    <a href="../../files/foo/{sha256(sdist)}/foo-2.0.tar.gz#sha256={sha256(sdist)}" \
data-requires-python="&gt;=3.8" data-yanked="it &lt;broke&gt;" \
data-size="{len(sdist)}" data-upload-time="2023-11-14T22:13:20.000000Z">\
foo-2.0.tar.gz</a><br>
  </body>
</html>
""".encode(),
        "simple/foo/index.json": f"""{{"meta":{{"api-version":"1.4"}},"name":"foo",\
"versions":["1.0","2.0"],"files":[\
{{"filename":"foo-1.0-py3-none-any.whl",\
"url":"../../files/foo/{sha256(wheel)}/foo-1.0-py3-none-any.whl",\
"hashes":{{"sha256":"{sha256(wheel)}"}},"core-metadata":{{"sha256":"{sha256(METADATA)}"}},\
"size":{len(wheel)},"upload-time":"2023-11-14T22:13:20.000000Z"}},\
{{"filename":"foo-2.0.tar.gz","url":"../../files/foo/{sha256(sdist)}/foo-2.0.tar.gz",\
"hashes":{{"sha256":"{sha256(sdist)}"}},"requires-python":">=3.8","size":{len(sdist)},\
"upload-time":"2023-11-14T22:13:20.000000Z","yanked":"it <broke>"}}]}}""".encode(),
    }
    assert b"1.0%2Blocal.1-py3" in found["simple/bar/index.html"]
    assert people <= found.keys()
    assert (done.projects, done.files, done.changes) == (2, 3, Changes(len(found), 0, 0))


async def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    source = shelf(tmp_path / "source")
    await export_folder(source, tmp_path / "one")
    shutil.copytree(source, tmp_path / "copy")
    await export_folder(tmp_path / "copy", tmp_path / "two", ExportOptions(Placement.COPY))
    assert reproducible(tmp_path / "one") == reproducible(tmp_path / "two")
    manifests = [tmp_path / name / ".waystation/manifest.json" for name in ("one", "two")]
    assert manifests[0].read_bytes() == manifests[1].read_bytes()


async def test_a_second_run_writes_nothing(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    await export_folder(source, root)
    before = inodes(root)
    assert (await export_folder(source, root)).changes == Changes(0, len(before), 0)
    assert inodes(root) == before


async def test_a_new_version_changes_its_project_and_the_start_page(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    await export_folder(source, root)
    before = inodes(root)
    make_wheel(source, "foo", "3.0")
    done = await export_folder(source, root)
    after = inodes(root)
    changed = {path for path in after if before.get(path) != after[path]}
    assert {path for path in changed if not path.startswith("files/")} == {
        *("index.html", "project/foo/index.html"),
        *("simple/foo/index.html", "simple/foo/index.json", "pypi/foo/json", "pypi/foo/3.0/json"),
        *("changes/index.html", "changes/feed.xml"),
    }
    assert {path.rpartition("/")[2] for path in changed if path.startswith("files/")} == {
        "foo-3.0-py3-none-any.whl",
        "foo-3.0-py3-none-any.whl.metadata",
    }
    assert done.changes.removed == 0


async def test_removed_files_go_with_their_metadata(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    await export_folder(source, root)
    shutil.rmtree(source / "bar")
    (source / "foo-1.0-py3-none-any.whl").unlink()
    done = await export_folder(source, root)
    found = content(root)
    assert not [path for path in found if "bar" in path or "foo-1.0" in path]
    assert not (root / "files/bar").exists()
    assert b"bar" not in found["simple/index.html"] + found["simple/index.json"]
    assert done.changes.removed == 10


async def test_changed_bytes_get_an_address_of_their_own(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    old = make_wheel(source, "foo", "1.0").read_bytes()
    await export_folder(source, root)
    new = make_wheel(source, "foo", "1.0", requires=["bar"]).read_bytes()
    await export_folder(source, root)
    assert [path.name for path in (root / "files/foo").iterdir()] == [sha256(new)]
    assert sha256(old).encode() not in content(root)["simple/foo/index.html"]


async def test_a_tree_has_only_the_selection(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    await export_folder(source, root)
    await export_folder(source, root, selection={FOO: {"foo-1.0-py3-none-any.whl"}})
    page = json.loads((root / "simple/foo/index.json").read_bytes())
    assert [file["filename"] for file in page["files"]] == ["foo-1.0-py3-none-any.whl"]
    assert page["versions"] == ["1.0"]
    assert not (root / "simple/bar").exists()


async def test_selected_files_that_are_not_cached_are_named_and_nothing_is_written(
    tmp_path: Path,
) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    selection = {ProjectName("baz"): None, FOO: {"foo-9.tar.gz", "foo-2.0.tar.gz"}, BAR: None}
    with pytest.raises(NotCached, match=r"baz, foo/foo-9\.tar\.gz; "):
        await export_folder(source, root, selection=selection)
    assert not root.exists()


async def test_an_empty_source_does_not_empty_a_tree(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    await export_folder(source, root)
    before = content(root)
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotCached, match="nothing to export"):
        await export_folder(tmp_path / "empty", root)
    assert content(root) == before


async def test_files_on_other_servers_are_not_written_and_promise_no_metadata(
    tmp_path: Path,
) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    form = ExportOptions(None, flat_links("https://files.example.com/pool/"))
    await export_folder(source, root, form)
    assert not (root / "files").exists()
    bar = json.loads((root / "simple/bar/index.json").read_bytes())["files"][0]
    assert bar["url"] == "https://files.example.com/pool/bar-1.0%2Blocal.1-py3-none-any.whl"
    assert "core-metadata" not in bar
    assert b"<p>Hello.</p>" in (root / "project/foo/index.html").read_bytes()


async def test_files_that_are_moved_later_keep_their_metadata(tmp_path: Path) -> None:
    source, root = shelf(tmp_path / "source"), tmp_path / "tree"
    await export_folder(
        source, root, ExportOptions(Placement.COPY, tree_links("https://cdn.example.com/f/"))
    )
    (file, _) = json.loads((root / "simple/foo/index.json").read_bytes())["files"]
    path = file["url"].removeprefix("https://cdn.example.com/f/")
    assert (root / "files" / path).read_bytes() == (source / file["filename"]).read_bytes()
    assert file["core-metadata"] == {"sha256": sha256(METADATA)}
    assert (root / "files" / f"{path}.metadata").read_bytes() == METADATA


async def test_a_wheel_with_metadata_of_another_project_promises_none(tmp_path: Path) -> None:
    wrong = {"foo-1.0.dist-info/METADATA": b"Metadata-Version: 2.1\nName: bar\nVersion: 1.0\n"}
    make_wheel(tmp_path / "source", "foo", "1.0", files=wrong)
    await export_folder(tmp_path / "source", tmp_path / "tree")
    (file,) = json.loads((tmp_path / "tree/simple/foo/index.json").read_bytes())["files"]
    assert "core-metadata" not in file
    assert not list((tmp_path / "tree/files").rglob("*.metadata"))


async def test_a_whole_cache_is_exported_with_its_upstream_facts(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        wheel = make_wheel(tmp_path / "index", "foo", "1.0")
        proof = {"version": 1, "attestation_bundles": []}
        upstream.add(wheel, yanked="broken", provenance=proof, requires_python=">=3.9")
        upstream.add(make_wheel(tmp_path / "index", "foo", "2.0"))
        upstream.add(make_wheel(tmp_path / "index", "bar", "1.0"), provenance=proof)
        async with cached(tmp_path, upstream) as proxy:
            await proxy.index.page(BAR)
            file = (await proxy.index.page(FOO)).file(wheel.name)
            for suffix in ("", PROVENANCE):
                await proxy.index.file(FOO, wheel.name + suffix, file.address_digest)
            artifact = await proxy.index.file(FOO, wheel.name, file.address_digest)
            assert b"".join([piece async for piece in artifact.blob.chunks()])
    root = tmp_path / "tree"
    async with cached(tmp_path, upstream, offline=True) as proxy:
        await export_index(proxy.index, root)
    found = content(root)
    page = json.loads(found["simple/foo/index.json"])
    (listed,) = page["files"]
    path = f"files/foo/{file.sha256}/{wheel.name}"
    assert listed["yanked"] == "broken"
    assert listed["requires-python"] == ">=3.9"
    assert listed["upload-time"] == file.uploaded
    assert listed["provenance"] == f"../../{path}.provenance"
    assert page["versions"] == ["1.0"]
    assert json.loads(found[f"{path}.provenance"]) == proof
    assert found[f"{path}.metadata"] == wheel_metadata(wheel)
    assert found[path] == wheel.read_bytes()
    assert not (root / "simple/bar").exists()


async def test_metadata_are_there_also_where_upstream_has_none(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        wheel = make_wheel(tmp_path / "index", "foo", "1.0")
        upstream.add(wheel, metadata=False, provenance={}, hashes=("md5",), size=False)
        async with cached(tmp_path, upstream) as proxy:
            await fetch(proxy, FOO)
    root = tmp_path / "tree"
    async with cached(tmp_path, upstream, offline=True) as proxy:
        await export_index(proxy.index, root)
    (listed,) = json.loads((root / "simple/foo/index.json").read_bytes())["files"]
    assert listed["hashes"]["sha256"] == sha256(wheel.read_bytes())
    assert listed["size"] == wheel.stat().st_size
    assert listed["core-metadata"] == {"sha256": sha256(wheel_metadata(wheel))}
    assert "provenance" not in listed  # never requested, so not cached
    assert (root / "simple" / "foo" / listed["url"]).resolve().read_bytes() == wheel.read_bytes()


async def test_a_damaged_file_of_the_cache_is_never_exported(tmp_path: Path) -> None:
    async with Upstream() as upstream:
        upstream.add(make_wheel(tmp_path / "index", "foo", "1.0"))
        async with cached(tmp_path, upstream) as proxy:
            await fetch(proxy, FOO)
    root = tmp_path / "tree"
    async with cached(tmp_path, upstream, offline=True) as proxy:
        (key,) = stored_keys(proxy.cache.folder / "blob")
        path = stored_path(proxy.cache.folder / "blob", key)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        with pytest.raises(FileAltered, match="cache verify"):
            await export_index(proxy.index, root)
    assert content(root) == {}


async def test_a_file_name_of_maximal_length_has_no_metadata(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path / "source", "foo", f"1.0+{'x' * 225}")
    assert len(wheel.name) == 250
    await export_folder(tmp_path / "source", tmp_path / "tree")
    (listed,) = json.loads((tmp_path / "tree/simple/foo/index.json").read_bytes())["files"]
    assert listed["filename"] == wheel.name
    assert "core-metadata" not in listed


async def test_a_description_comes_from_the_newest_version(tmp_path: Path) -> None:
    source, root = tmp_path / "source", tmp_path / "tree"
    described(source, "foo", "1.0", "old", "text/plain", Summary="Old foo.")
    described(source, "Foo", "1.10", "newest", "text/plain", Summary="New foo.")
    described(source, "foo", "1.9", "newer", "text/plain", Summary="Newer foo.")
    described(source, "foo", "2.0rc1", "next", "text/plain", Summary="Next foo.")
    await export_folder(source, root)
    assert b">newest</pre>" in (root / "project/foo/index.html").read_bytes()
    start = (root / "index.html").read_bytes()
    assert b"New foo." in start and b"<strong><bdi>Foo</bdi></strong> <span>1.10</span>" in start


async def test_an_sdist_describes_itself(tmp_path: Path) -> None:
    make_sdist(tmp_path / "source", "foo", "1.0", requires=["bar>=2"])
    await export_folder(tmp_path / "source", tmp_path / "tree")
    assert b"bar&gt;=2" in (tmp_path / "tree/project/foo/index.html").read_bytes()
