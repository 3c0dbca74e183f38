"""``waystation export``: what it accepts, refuses and prints."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from proxy.model import ProjectName
from tests.support.distributions import make_wheel
from tests.support.exports import BAR, FOO, cached, content, fetch
from tests.support.mounts import mounted
from tests.support.running import Done, waystation
from tests.support.upstream import Upstream

MINE = ProjectName("mine")


async def export(folder: Path, *arguments: str | Path) -> Done:
    return await waystation("export", *arguments, "--cache-dir", folder / "cache", cwd=folder)


async def a_cache(folder: Path) -> str:
    """The address of a stopped upstream; two versions of foo and one of bar are cached."""
    async with Upstream() as upstream:
        for version in ("1.0", "2.0"):
            upstream.add(make_wheel(folder / "index", "foo", version, requires=["bar"]))
        upstream.add(make_wheel(folder / "index", "bar", "1.0"))
        async with cached(folder, upstream) as proxy:
            await fetch(proxy, FOO, ".metadata")
            await fetch(proxy, BAR, ".metadata")
        return upstream.url


def files(tree: Path) -> set[str]:
    return {Path(path).name for path in content(tree) if path.endswith(".whl")}


async def test_a_bare_directory(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    done = await export(tmp_path, "tree", "--from", "source", "--title", "Acme <index>")
    assert done.succeeded().out.splitlines() == [
        "tree: 1 distribution of 1 project",
        "12 files written, 0 unchanged, 0 removed",
    ]
    assert "Acme &lt;index&gt;" in (tmp_path / "tree/index.html").read_text()
    again = await export(tmp_path, "tree", "--from", "source", "--title", "Acme <index>")
    assert "0 files written, 12 unchanged, 0 removed" in again.out


async def test_the_whole_cache_and_the_private_directory(tmp_path: Path) -> None:
    upstream = await a_cache(tmp_path)
    make_wheel(tmp_path / "packages", "mine", "1.0")
    (await export(tmp_path, "tree", "--all", "--upstream", upstream)).succeeded()
    assert files(tmp_path / "tree") == {
        *("foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl", "bar-1.0-py3-none-any.whl"),
        "mine-1.0-py3-none-any.whl",
    }


async def test_the_private_directory_alone(tmp_path: Path) -> None:
    upstream = await a_cache(tmp_path)
    make_wheel(tmp_path / "packages", "mine", "1.0")
    (await export(tmp_path, "tree", "--local", "--upstream", upstream)).succeeded()
    assert files(tmp_path / "tree") == {"mine-1.0-py3-none-any.whl"}


@pytest.mark.parametrize("link", ["hard", "symlink", "copy"])
async def test_distributions_in_an_archive(tmp_path: Path, link: str) -> None:
    wheel = make_wheel(tmp_path / "made", "mine", "1.0")
    shutil.make_archive(str(tmp_path / "wheels"), "zip", tmp_path / "made")
    options = ("--local", "--packages", "wheels.zip", "--link", link)
    (await export(tmp_path, "tree", *options)).succeeded()
    (placed,) = (tmp_path / "tree").rglob("*.whl")
    assert placed.read_bytes() == wheel.read_bytes() and not placed.is_symlink()
    assert placed.stat().st_mode & 0o444 == (tmp_path / "tree/index.html").stat().st_mode & 0o444
    assert "0 files written" in (await export(tmp_path, "tree", *options)).out


async def test_projects_by_name(tmp_path: Path) -> None:
    upstream = await a_cache(tmp_path)
    await export(tmp_path, "tree", "--project", "Foo", "--upstream", upstream)
    assert files(tmp_path / "tree") == {"foo-1.0-py3-none-any.whl", "foo-2.0-py3-none-any.whl"}


async def test_an_export_has_the_files_that_sources_need_and_no_other(tmp_path: Path) -> None:
    upstream = await a_cache(tmp_path)
    (tmp_path / "requirements.txt").write_text("foo<2\n")
    options = ("--upstream", upstream, "--link", "copy")
    (await export(tmp_path, "tree", "requirements.txt", *options)).succeeded()
    assert files(tmp_path / "tree") == {"foo-1.0-py3-none-any.whl", "bar-1.0-py3-none-any.whl"}
    page = json.loads((tmp_path / "tree/simple/foo/index.json").read_text())
    assert page["versions"] == ["1.0"]
    (await export(tmp_path, "tree", "bar", "--upstream", upstream)).succeeded()
    assert files(tmp_path / "tree") == {"bar-1.0-py3-none-any.whl"}


async def test_files_that_are_not_cached_are_named_and_nothing_is_written(tmp_path: Path) -> None:
    upstream = await a_cache(tmp_path)
    for source in (("--project", "baz"), ("baz>=1",)):
        done = await export(tmp_path, "tree", *source, "--upstream", upstream)
        assert done.status == 1
        assert "baz" in done.err and "Traceback" not in done.err
        assert not (tmp_path / "tree").exists()


async def test_a_needed_file_that_was_lost_is_named(tmp_path: Path) -> None:
    upstream = await a_cache(tmp_path)
    size = (tmp_path / "index" / "bar-1.0-py3-none-any.whl").stat().st_size
    (lost,) = (p for p in (tmp_path / "cache/blob").glob("*/*") if p.stat().st_size == size)
    lost.unlink()
    done = await export(tmp_path, "tree", "foo", "--upstream", upstream)
    assert done.status == 1
    assert f"bar/bar-1.0-py3-none-any.whl#{lost.name}" in done.err
    assert not (tmp_path / "tree").exists()


async def test_names_of_files_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "names").write_text(
        '{"filename": "foo-1.0.tar.gz", "hash": "md5=' + "a" * 32 + '"}'
    )
    base = "https://files.example.com/pool"
    (await export(tmp_path, "tree", "--names", "names", "--base-url", base)).succeeded()
    page = (tmp_path / "tree/simple/foo/index.html").read_text()
    assert f'href="{base}/foo-1.0.tar.gz#md5={"a" * 32}"' in page


async def test_names_come_from_standard_input(tmp_path: Path) -> None:
    names = "foo-1.0.tar.gz\nbar-1.0-py3-none-any.whl\n"
    command = ("export", tmp_path / "tree", "--names", "-", "--base-url", "../../pool")
    done = await waystation(*command, cwd=tmp_path, given=names)
    assert "2 distributions of 2 projects" in done.succeeded().out
    page = (tmp_path / "tree/simple/foo/index.html").read_text()
    assert 'href="../../pool/foo-1.0.tar.gz"' in page


async def test_a_wrong_line_of_names_is_reported(tmp_path: Path) -> None:
    (tmp_path / "names").write_text('{"filename": "foo"}')
    done = await export(tmp_path, "tree", "--names", "names", "--base-url", "../../pool")
    assert done.status == 1
    assert "names, line 1: " in done.err


async def test_with_link_files_are_written_to_be_moved(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    base = ("--base-url", "https://files.example.com/pool")
    (await export(tmp_path, "tree", "--from", "source", *base, "--link", "hard")).succeeded()
    (wheel,) = (tmp_path / "tree/files").rglob("*.whl")
    assert wheel.samefile(tmp_path / "source" / wheel.name)
    address = f"{base[1]}/{wheel.relative_to(tmp_path / 'tree/files')}"
    assert address in (tmp_path / "tree/simple/foo/index.html").read_text()


@pytest.mark.parametrize(
    "folder", ["packages", "packages/x", "cache", "cache/x/y", "source", "link/x"]
)
async def test_a_tree_inside_of_what_it_is_made_from_is_refused(
    tmp_path: Path, folder: str
) -> None:
    for name in ("packages", "source"):
        make_wheel(tmp_path / name, "foo", "1.0")
    (tmp_path / "link").symlink_to("packages")
    done = await export(tmp_path, folder, "--from", "source")
    assert done.status == 2
    assert f"DIR: {folder} is inside " in done.err
    assert len(list((tmp_path / "packages").iterdir())) == 1
    assert len(list((tmp_path / "source").iterdir())) == 1


async def test_a_folder_that_is_no_tree_of_waystation_is_refused(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    (tmp_path / "site").mkdir()
    (tmp_path / "site/index.html").write_text("mine")
    done = await export(tmp_path, "site", "--from", "source")
    assert done.status == 2
    assert "not empty" in done.err
    assert content(tmp_path / "site") == {"index.html": b"mine"}


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ((), "name sources"),
        (("--all", "--local"), "name sources"),
        (("foo", "--all"), "name sources"),
        (("--all", "--python", "3.12"), "need a SOURCE"),
        (("--names", "names", "--link", "copy"), "--link cannot be used with --names"),
        (("--project", "no name"), "not a project name"),
        (("--from", "missing"), "does not exist"),
        (("--all", "--link", "magic"), "is not one of"),
        (("--all", "--base-url", "ftp://files.example.com/"), "--base-url"),
        (("--local",), "there is no private directory"),
        (("--all", "--packages", "missing"), "not a directory"),
    ],
)
async def test_wrong_use_is_reported(
    tmp_path: Path, arguments: tuple[str, ...], problem: str
) -> None:
    (tmp_path / "names").write_text("")
    done = await export(tmp_path, "tree", *arguments)
    assert done.status == 2
    assert problem in done.err
    assert "Traceback" not in done.err
    assert not (tmp_path / "tree").exists()


async def test_an_unwritable_destination_is_reported(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    (tmp_path / "file").write_text("")
    done = await export(tmp_path, "file/tree", "--from", "source")
    assert done.status == 1
    assert "Not a directory" in done.err and "Traceback" not in done.err


async def test_a_full_disk_is_reported_with_its_path(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0", padding=200_000)
    with mounted(tmp_path / "small", "size=100k"):
        done = await export(tmp_path, "small/tree", "--from", "source")
        assert done.status == 1
        assert done.err.startswith(f"Error: {tmp_path}/small/tree/")
        assert "No space left on device" in done.err
    assert (await export(tmp_path, "small/tree", "--from", "source")).status == 0


async def test_an_empty_cache_does_not_empty_a_tree(tmp_path: Path) -> None:
    make_wheel(tmp_path / "source", "foo", "1.0")
    await export(tmp_path, "tree", "--from", "source")
    done = await export(tmp_path, "tree", "--all")
    assert done.status == 1
    assert "nothing to export" in done.err
    assert files(tmp_path / "tree") == {"foo-1.0-py3-none-any.whl"}
