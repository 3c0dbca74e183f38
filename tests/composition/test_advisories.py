"""Advisories from an address: requested again only if they have changed, and never offline."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import BasicAuth, web

from proxy.composition import Proxy, open_proxy
from proxy.config import load_settings
from proxy.errors import ConfigurationError
from proxy.model import normalize
from tests.support.advisories import osv, write_archive
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.waiting import until

AAA = normalize("aaa")


class ArchiveServer:
    """Serves one archive at an address; set the attributes at any time."""

    def __init__(self) -> None:
        self.data = b""
        self.status = 200
        self.cut = 0
        """Bytes of the end that are missing."""
        self.requests: list[web.Request] = []
        self.port = 0
        self._runner: web.AppRunner | None = None

    @property
    def statuses(self) -> list[bool]:
        """Of each request, whether it had a condition."""
        return ["If-None-Match" in each.headers for each in self.requests]

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_get("/osv/all.zip", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.port = self._runner.addresses[0][1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._runner
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        self.requests.append(request)
        tag = f'"{hashlib.sha256(self.data).hexdigest()}"'
        if self.status != 200:
            return web.Response(status=self.status)
        if request.headers.get("If-None-Match") == tag:
            return web.Response(status=304, headers={"ETag": tag})
        return web.Response(body=self.data[: len(self.data) - self.cut], headers={"ETag": tag})


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[ArchiveServer]:
    async with ArchiveServer() as running:
        running.data = archive(tmp_path, osv("GHSA-1"))
        yield running


def archive(folder: Path, *records: dict[str, Any]) -> bytes:
    return write_archive(folder / "made.zip", *records).read_bytes()


@asynccontextmanager
async def opened(folder: Path, clock: Clock, source: str, **more: Any) -> AsyncIterator[Proxy]:
    values = {
        "cache_dir": str(folder / "cache"),
        "indexes": {"main": {"kind": "mirror", "url": "http://127.0.0.1:9/simple/"}},
        "advisories": {"source": source, "every": "1h"},
        "retries": 0,
    }
    async with open_proxy(load_settings(values | more).settings, clock) as proxy:
        yield proxy


def ids(proxy: Proxy) -> list[str]:
    assert proxy.advisories
    return [each.id for each in proxy.advisories.about(AAA)]


async def test_an_archive_is_fetched_again_only_if_it_has_changed(
    tmp_path: Path, clock: Clock, server: ArchiveServer
) -> None:
    source = f"http://127.0.0.1:{server.port}/osv/all.zip"
    async with opened(tmp_path, clock, source) as proxy:
        assert ids(proxy) == ["GHSA-1"]
        assert server.statuses == [False]
        clock.advance(3600)
        await until(lambda: server.statuses == [False, True])
        assert proxy.advisories
        await until(lambda: proxy.advisories is not None and proxy.advisories.age == 0)
        server.data = archive(tmp_path, osv("GHSA-1"), osv("GHSA-2"))
        clock.advance(3600)
        await until(lambda: ids(proxy) == ["GHSA-1", "GHSA-2"])
    async with opened(tmp_path, clock, source) as proxy:
        assert ids(proxy) == ["GHSA-1", "GHSA-2"]
    assert len(server.requests) == 3


def fails(server: ArchiveServer) -> None:
    server.status = 503


def is_gone(server: ArchiveServer) -> None:
    server.status = 404


def is_cut(server: ArchiveServer) -> None:
    server.data, server.cut = server.data + b"x", 40


@pytest.mark.parametrize("spoil", [fails, is_gone, is_cut])
async def test_an_address_that_fails_leaves_the_last_advisories_in_force(
    tmp_path: Path,
    clock: Clock,
    server: ArchiveServer,
    spoil: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with opened(tmp_path, clock, f"http://127.0.0.1:{server.port}/osv/all.zip") as proxy:
        spoil(server)
        clock.advance(3600)
        await until(lambda: "the last ones stay in force" in caplog.text)
        assert ids(proxy) == ["GHSA-1"]


async def test_a_first_start_goes_on_without_advisories_that_cannot_be_had(
    tmp_path: Path, clock: Clock, server: ArchiveServer
) -> None:
    server.status = 500
    async with opened(tmp_path, clock, f"http://127.0.0.1:{server.port}/osv/all.zip") as proxy:
        assert ids(proxy) == []
        server.status = 200
        clock.advance(61)
        await until(lambda: ids(proxy) == ["GHSA-1"])


async def test_offline_no_address_is_requested(
    tmp_path: Path, clock: Clock, server: ArchiveServer
) -> None:
    source = f"http://127.0.0.1:{server.port}/osv/all.zip"
    async with opened(tmp_path, clock, source):
        pass
    before = len(server.requests)
    clock.advance(7200)
    async with opened(tmp_path, clock, source, offline=True) as proxy:
        assert ids(proxy) == ["GHSA-1"]
    assert len(server.requests) == before


async def test_credentials_are_sent_and_not_stored(
    tmp_path: Path, clock: Clock, server: ArchiveServer, caplog: pytest.LogCaptureFixture
) -> None:
    source = f"http://me:secret@127.0.0.1:{server.port}/osv/all.zip"
    async with opened(tmp_path, clock, source) as proxy:
        assert ids(proxy) == ["GHSA-1"]
        server.status = 500
        clock.advance(3600)
        await until(lambda: "stay in force" in caplog.text)
    assert BasicAuth.decode(server.requests[0].headers["Authorization"]).password == "secret"
    kept = b"".join(path.read_bytes() for path in (tmp_path / "cache" / "advisories").iterdir())
    assert b"secret" not in kept
    assert "secret" not in caplog.text


@pytest.mark.parametrize("guarded", ["main", "private"])
async def test_a_private_project_is_not_the_project_of_that_name_on_pypi(
    tmp_path: Path, clock: Clock, guarded: str
) -> None:
    """Whichever index has the rule: the private one, or one that it is part of."""
    make_wheel(tmp_path / "packages", "aaa", "1.0")
    write_archive(tmp_path / "osv.zip", osv("MAL-1", events=[{"introduced": "0"}]))
    indexes: dict[str, Any] = {
        "private": {"kind": "local", "path": str(tmp_path / "packages")},
        "world": {"kind": "mirror", "url": "http://127.0.0.1:9/simple/"},
        "main": {"kind": "fallthrough", "of": ["private", "world"]},
    }
    indexes[guarded]["policies"] = ["malware"]
    policies = {"malware": {"kind": "malware", "show": "hide"}}
    source = str(tmp_path / "osv.zip")
    async with opened(tmp_path, clock, source, indexes=indexes, policies=policies) as proxy:
        assert ids(proxy) == ["MAL-1"]
        page = await proxy.index.page(AAA)
        assert [file.yanked for file in page.files] == [False]
        await proxy.index.file(AAA, "aaa-1.0-py3-none-any.whl")


async def test_a_source_that_does_not_exist_is_an_error(tmp_path: Path, clock: Clock) -> None:
    with pytest.raises(ConfigurationError, match="there is no"):
        async with opened(tmp_path, clock, str(tmp_path / "absent")):
            pass


@pytest.mark.parametrize(
    ("values", "key", "text"),
    [
        ({"policies": {"x": {"kind": "malware"}}}, "policies.x", "needs advisories"),
        ({"policies": {"x": {"kind": "advisories"}}}, "policies.x", "needs advisories"),
        (
            {"policies": {"x": {"kind": "cooldown", "age": "7d", "security_fixes": True}}},
            "policies.x",
            "needs advisories",
        ),
        (
            {"policies": {"x": {"kind": "expression", "refuse": "release.malware"}}},
            "policies.x",
            "needs advisories",
        ),
        (
            {"policies": {"x": {"kind": "expression", "refuse": "file.siez > 3"}}},
            "policies.x",
            "file.siez is unknown",
        ),
        (
            {"policies": {"x": {"kind": "licence", "deny": ["BSD"]}}},
            "policies.x",
            "no SPDX licence",
        ),
        ({"advisories": {"source": "a", "every": "0.5s"}}, "advisories", "at least 1"),
        ({"advisories": {"every": "1h"}}, "advisories", ""),
    ],
)
def test_what_is_wrong_in_the_settings_is_an_error_with_its_key(
    values: dict[str, Any], key: str, text: str
) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(values)
    assert caught.value.key.startswith(key)
    assert text in str(caught.value)
