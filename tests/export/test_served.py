"""Trees on real web servers: pip and uv install from them, Waystation takes them as upstream."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from pydantic import HttpUrl

from proxy.composition.proxy import open_proxy
from proxy.config.loading import load_settings
from proxy.export.export import ExportOptions
from proxy.export.simple_pages import flat_links
from proxy.model import METADATA, ProjectName
from tests.support.content import read_blob
from tests.support.distributions import make_sdist, make_wheel, wheel_metadata
from tests.support.exports import FOO, export_folder
from tests.support.running import Done
from tests.support.static_servers import http_server, nginx, pip, requests, uv

pytestmark = [pytest.mark.slow, pytest.mark.e2e]

JSON = "application/vnd.pypi.simple.v1+json"
OLD = 1_600_000_000  # 2020-09-13
NEW = 1_700_000_000  # 2023-11-14
Install = Callable[..., Awaitable[Done]]
installers = pytest.mark.parametrize("install", [pip, uv])
servers = pytest.mark.parametrize("server", ["http.server", "nginx"])


def shelf(folder: Path) -> Path:
    """foo with an old, a yanked and an uninstallable version; it requires an sdist."""
    old = make_wheel(folder, "foo", "1.0+local.1", requires=["needed>=1"])
    make_wheel(folder, "foo", "2.0", requires=["needed>=1"])
    make_wheel(folder, "foo", "3.0", requires_python=">=4")
    yanked = make_wheel(folder, "foo", "2.5")
    yanked.with_name(f"{yanked.name}.yanked").write_text("broken")
    make_sdist(folder, "needed", "1.5")
    for path in folder.iterdir():
        os.utime(path, (NEW, NEW))
    os.utime(old, (OLD, OLD))
    return folder


@asynccontextmanager
async def served(tree: Path, server: str, state: Path) -> AsyncIterator[str]:
    opened = http_server(tree) if server == "http.server" else nginx(tree, state)
    async with opened as address:
        yield address


@pytest.fixture
async def tree(tmp_path: Path) -> Path:
    await export_folder(shelf(tmp_path / "source"), tmp_path / "tree")
    return tmp_path / "tree"


def installed(folder: Path) -> set[str]:
    return {path.name.removesuffix(".dist-info") for path in folder.glob("target/*.dist-info")}


@installers
@servers
async def test_installers_take_the_right_files(
    tmp_path: Path, tree: Path, install: Install, server: str
) -> None:
    async with served(tree, server, tmp_path / "nginx") as address:
        (await install(address, tmp_path, "foo")).succeeded()
    assert installed(tmp_path) == {"foo-2.0", "needed-1.5"}


@installers
@servers
async def test_a_local_version_is_found_under_its_address(
    tmp_path: Path, tree: Path, install: Install, server: str
) -> None:
    async with served(tree, server, tmp_path / "nginx") as address:
        (await install(address, tmp_path, "--no-deps", "foo==1.0+local.1")).succeeded()
    assert installed(tmp_path) == {"foo-1.0+local.1"}


@installers
@servers
async def test_other_bytes_are_refused(
    tmp_path: Path, tree: Path, install: Install, server: str
) -> None:
    (wheel,) = tree.glob("files/foo/*/foo-2.0-py3-none-any.whl")
    wheel.unlink()
    make_wheel(wheel.parent, "foo", "2.0", requires=["evil"])
    async with served(tree, server, tmp_path / "nginx") as address:
        done = await install(address, tmp_path, "--no-deps", "foo")
    assert done.status != 0
    assert "hash" in done.err.lower()
    assert installed(tmp_path) == set()


@installers
async def test_nginx_answers_in_json_so_that_date_filters_work(
    tmp_path: Path, tree: Path, install: Install
) -> None:
    before = "--uploaded-prior-to" if install is pip else "--exclude-newer"
    async with nginx(tree, tmp_path / "nginx") as address:
        arguments = ("--no-deps", before, "2021-01-01T00:00:00Z", "foo")
        (await install(address, tmp_path, *arguments)).succeeded()
    assert installed(tmp_path) == {"foo-1.0+local.1"}
    assert "GET /simple/foo/ " in requests(tmp_path / "nginx")


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (f"{JSON}, text/html; q=0.01", JSON),
        ("application/vnd.pypi.simple.latest+json", JSON),
        ("text/html,*/*;q=0.8", "text/html; charset=utf-8"),
        ("*/*", "text/html; charset=utf-8"),
        ("application/vnd.pypi.simple.v1+html", "text/html; charset=utf-8"),
    ],
)
async def test_nginx_sends_the_right_content_type(
    tmp_path: Path, tree: Path, accept: str, expected: str
) -> None:
    async with nginx(tree, tmp_path / "nginx") as address, aiohttp.ClientSession() as client:
        for path in ("simple/", "simple/foo/"):
            async with client.get(address + path, headers={"Accept": accept}) as answer:
                body = await answer.read()
            assert answer.status == 200
            assert answer.headers["Content-Type"] == expected
            assert answer.headers["Vary"] == "Accept"
            name = "index.json" if expected == JSON else "index.html"
            assert body == (tree / path / name).read_bytes()


async def test_nginx_serves_the_human_pages_and_hides_the_state_folder(
    tmp_path: Path, tree: Path
) -> None:
    async with nginx(tree, tmp_path / "nginx") as address, aiohttp.ClientSession() as client:
        for path, status in (
            *(("", 200), ("project/foo/", 200), ("simple/nothing/", 404)),
            *((".waystation/manifest.json", 404), ("files/", 403)),
        ):
            async with client.get(address + path) as answer:
                assert answer.status == status, path
        (sdist,) = tree.glob("files/needed/*/needed-1.5.tar.gz")
        async with client.get(f"{address}{sdist.relative_to(tree)}") as answer:
            assert "Content-Encoding" not in answer.headers
            assert answer.headers["Content-Type"] == "application/octet-stream"


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("pypi/foo/json", "application/json"),
        ("pypi/foo/2.0/json", "application/json"),
        ("changes/feed.xml", "application/atom+xml"),
        ("changes/", "text/html; charset=utf-8"),
    ],
)
async def test_nginx_knows_the_types_of_documents_and_feed(
    tmp_path: Path, tree: Path, path: str, expected: str
) -> None:
    async with (
        nginx(tree, tmp_path / "nginx") as address,
        aiohttp.ClientSession() as client,
        client.get(address + path) as answer,
    ):
        body = await answer.read()
    assert (answer.status, answer.headers["Content-Type"]) == (200, expected)
    named = path + "index.html" if path.endswith("/") else path
    assert body == (tree / named).read_bytes()


@servers
async def test_waystation_mirrors_the_tree_as_upstream(
    tmp_path: Path, tree: Path, server: str
) -> None:
    async with served(tree, server, tmp_path / "nginx") as address:
        flags = {"upstream": HttpUrl(f"{address}simple/"), "cache_dir": tmp_path / "cache"}
        async with open_proxy(load_settings({**flags, "netrc": False}).settings) as proxy:
            page = await proxy.index.page(FOO)
            by_name = {file.filename: file for file in page.files}
            wheel = by_name["foo-2.0-py3-none-any.whl"]
            source = tmp_path / "source" / wheel.filename
            artifact = await proxy.index.file(FOO, wheel.filename, wheel.address_digest)
            metadata = await proxy.index.file(FOO, wheel.filename + METADATA, wheel.address_digest)
            assert await read_blob(artifact.blob) == source.read_bytes()
            assert await read_blob(metadata.blob) == wheel_metadata(source)
            (sdist,) = (await proxy.index.page(ProjectName("needed"))).files
    assert by_name.keys() == {path.name for path in source.parent.glob("foo-*.whl")}
    assert wheel.size == source.stat().st_size
    assert wheel.uploaded == "2023-11-14T22:13:20.000000Z"
    assert isinstance(wheel.metadata, Mapping)
    assert dict(wheel.metadata) == {"sha256": hashlib.sha256(wheel_metadata(source)).hexdigest()}
    assert by_name["foo-3.0-py3-none-any.whl"].requires_python == ">=4"
    assert by_name["foo-2.5-py3-none-any.whl"].yanked == "broken"
    assert sdist.metadata is False
    assert page.versions == ("1.0+local.1", "2.0", "2.5", "3.0")


@installers
async def test_files_may_be_on_another_server(tmp_path: Path, tree: Path, install: Install) -> None:
    async with http_server(tmp_path / "source") as files:
        await export_folder(
            tmp_path / "source", tmp_path / "pages", ExportOptions(None, flat_links(files))
        )
        async with http_server(tmp_path / "pages") as address:
            (await install(address, tmp_path, "foo")).succeeded()
    assert installed(tmp_path) == {"foo-2.0", "needed-1.5"}


async def test_a_relative_base_is_relative_to_the_page(tmp_path: Path, tree: Path) -> None:
    """The pages may be below the folder of files, as in other static indexes."""
    pool = tmp_path / "source"
    await export_folder(pool, tmp_path / "pages", ExportOptions(None, flat_links("../../../pool/")))
    site = tmp_path / "site"
    site.mkdir()
    (tmp_path / "pages").rename(site / "pages")
    pool.rename(site / "pool")
    async with http_server(site) as address:
        (await pip(f"{address}pages/", tmp_path, "foo")).succeeded()
    assert installed(tmp_path) == {"foo-2.0", "needed-1.5"}
