"""Administration of a running server with two workers, by its commands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.faults import Fault
from tests.support.running import Done, Running, running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

WHEEL = "aaa-1.0-py3-none-any.whl"


async def get(url: str, read: bool = True) -> tuple[int, bytes]:
    """On a connection of its own, so that any worker may answer."""
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return response.status, await response.read() if read else b""


class AdministeredServer:
    def __init__(self, folder: Path, upstream: Upstream, server: Running, config: Path) -> None:
        self.folder = folder
        self.upstream = upstream
        self.server = server
        self.config = config

    async def do(self, *arguments: str, **more: str) -> Done:
        return await waystation(*arguments, "--via", self.server.address, cwd=self.folder, **more)

    async def answer(self, name: str) -> Any:
        return json.loads((await self.do("server", name, "--json")).succeeded().out)

    async def everywhere(self, test: Any) -> None:
        """Wait until 12 answers in a row pass."""

        async def passes() -> bool:
            for _ in range(12):
                _, body = await get(f"{self.server.index}aaa/")
                if not test(body):
                    return False
            return True

        await until(passes)


@pytest.fixture
async def site(tmp_path: Path, upstream: Upstream) -> AsyncIterator[AdministeredServer]:
    upstream.add(make_wheel(tmp_path / "dist", "aaa", "1.0", padding=900_000))
    config = tmp_path / "waystation.toml"
    config.write_text(
        f"""
        upstream = "{upstream.url}"
        upstream_username = "ada"
        upstream_password = "open sesame"
        workers = 2
        retries = 0
        speculate = "off"
        max_size = "4MB"
        """
    )
    async with running(tmp_path, "--config", config) as server:
        await until(lambda: server.listening() == 2)
        yield AdministeredServer(tmp_path, upstream, server, config)


async def file_of(site: AdministeredServer, name: str) -> str:
    _, page = await get(f"{site.server.index}{name.split('-', maxsplit=1)[0]}/")
    return next(
        part.split(b"#")[0].decode().replace("../..", site.server.address)
        for part in page.split(b'"')
        if name.encode() in part and b"files/" in part
    )


async def test_the_whole_server_is_shown(site: AdministeredServer) -> None:
    await get(await file_of(site, WHEEL))
    for _ in range(4):  # whichever worker answers
        status = await site.answer("status")
        assert len(status["workers"]) == 2
        assert site.server.process.pid not in status["workers"]
    await until_stored(site)
    shown = (await site.do("cache", "stats")).succeeded().out
    assert "projects  1\nfiles     1\n" in shown
    listed = (await site.do("cache", "list")).succeeded().out
    assert listed.startswith("aaa\n") and WHEEL in listed
    assert (await site.do("cache", "list", "aaa")).succeeded().out == listed


async def until_stored(site: AdministeredServer, *names: str) -> None:
    """Files are stored and recorded after they were sent."""
    wanted = names or (WHEEL,)

    async def stored() -> bool:
        listed = (await site.do("cache", "list")).succeeded().out
        return all(name in listed for name in wanted)

    await until(stored)


async def test_refresh_reaches_every_worker(site: AdministeredServer) -> None:
    await site.everywhere(lambda body: b"aaa-1.0" in body)
    site.upstream.add(make_wheel(site.folder / "dist", "aaa", "2.0"))
    done = (await site.do("cache", "refresh", "aaa")).succeeded()
    assert done.out == "aaa: asked upstream, 2 files in index main\n"
    await site.everywhere(lambda body: b"aaa-2.0" in body)
    assert site.upstream.count("/simple/aaa/") <= 4
    assert (await site.do("cache", "refresh", "zzz")).status == 1
    assert (await site.do("cache", "refresh", "aaa", "--index", "no")).status == 2


async def test_a_file_and_a_project_are_purged(site: AdministeredServer) -> None:
    url = await file_of(site, WHEEL)
    await get(url)
    await until_stored(site)
    done = (await site.do("cache", "purge", "aaa", "--file", WHEEL)).succeeded()
    assert done.out.startswith("aaa: purged 1 file, 90")
    assert (await site.do("cache", "purge", "aaa", "--file", WHEEL)).status == 1
    assert WHEEL not in (await site.do("cache", "list")).out
    assert (await get(url))[0] == 200
    assert site.upstream.count(f"/{WHEEL}") == 2
    await until_stored(site)
    site.upstream.remove(WHEEL)
    site.upstream.add(make_wheel(site.folder / "dist", "aaa", "2.0"))
    assert (await site.do("cache", "purge", "aaa")).succeeded().out.startswith("aaa: purged 1 file")
    await site.everywhere(lambda body: b"aaa-2.0" in body and b"aaa-1.0" not in body)
    assert (await site.do("cache", "purge", "aaa", "bbb")).status == 1
    assert (await site.do("cache", "purge", "--all")).succeeded()


async def test_a_pinned_file_stays_whatever_comes(site: AdministeredServer) -> None:
    await get(await file_of(site, WHEEL))
    await until_stored(site)
    assert (await site.do("cache", "pin", "aaa", WHEEL)).succeeded().out == f"pinned: {WHEEL}\n"
    assert (await site.do("cache", "pins")).succeeded().out == f"aaa\n  {WHEEL}\n"
    assert "  pinned" in (await site.do("cache", "list", "aaa")).out
    for number in range(6):
        path = make_wheel(site.folder / "dist", f"bbb{number}", "1.0", padding=900_000)
        site.upstream.add(path)
        await get(await file_of(site, path.name))
    listed = (await site.do("cache", "list")).succeeded().out

    async def evicted() -> bool:
        nonlocal listed
        listed = (await site.do("cache", "list")).succeeded().out
        return listed.count(".whl") < 7 and "bbb5-1.0" in listed

    await until(evicted)
    assert WHEEL in listed
    assert (await site.do("cache", "unpin", "aaa")).succeeded().out == f"unpinned: {WHEEL}\n"
    assert (await site.do("cache", "pins")).succeeded().out == ""
    assert (await site.do("cache", "pin", "zzz")).status == 1
    assert (await site.do("cache", "pin", "aaa", "no.whl")).status == 1


async def test_a_running_download_is_shown_by_every_worker(site: AdministeredServer) -> None:
    gate = asyncio.Event()
    url = await file_of(site, WHEEL)
    site.upstream.fault(f"/{WHEEL}", Fault(hang=gate))
    fetching = asyncio.create_task(get(url))
    try:

        async def shown() -> bool:
            return len((await site.answer("downloads"))["downloads"]) == 1

        await until(shown)
        for _ in range(4):
            (found,) = (await site.answer("downloads"))["downloads"]
            assert (found["what"], found["readers"]) == (f"{WHEEL} of aaa", 1)
        assert WHEEL in (await site.do("server", "downloads")).succeeded().out
    finally:
        gate.set()
        await fetching


async def test_an_upstream_that_cannot_be_reached_is_shown(site: AdministeredServer) -> None:
    assert (await site.do("server", "upstreams")).succeeded().out == "upstream: reachable\n"
    await site.upstream.stop()

    async def open_breaker() -> bool:
        for number in range(12):
            await get(f"{site.server.index}absent{number}/")
        return bool((await site.answer("status"))["unreachable"])

    await until(open_breaker)
    (found,) = (await site.answer("upstreams"))["upstreams"]
    assert (found["index"], found["breaker"], found["workers"]) == ("upstream", "open", 2)
    assert "cannot be reached" in (await site.do("server", "upstreams")).out


async def test_settings_are_shown_with_their_origin_and_reloaded(site: AdministeredServer) -> None:
    shown = (await site.do("server", "settings")).succeeded().out
    assert "open sesame" not in shown
    assert f'speculate = "off"  ({site.config})' in shown
    assert "(flag)" in shown and "(default)" in shown
    text = site.config.read_text()
    site.config.write_text(text + 'help = "ask Ada"\npage_ttl = "1h"\n')
    done = (await site.do("reload")).succeeded()
    assert "has reloaded its settings" in done.out
    settings = (await site.answer("settings"))["settings"]
    assert settings["page_ttl"] == {"value": 3600, "origin": str(site.config)}
    site.config.write_text("no settings at all")
    refused = await site.do("reload")
    assert refused.status == 2 and "no settings" not in refused.out
    for _ in range(4):
        settings = (await site.answer("settings"))["settings"]
        assert settings["page_ttl"] == {"value": 3600, "origin": str(site.config)}


async def test_a_token_comes_from_the_environment_or_netrc(
    tmp_path: Path, upstream: Upstream
) -> None:
    config = tmp_path / "waystation.toml"
    config.write_text(f'upstream = "{upstream.url}"\n[access]\n')
    given = ("--config", str(config), "--cache-dir", str(tmp_path / "cache"))
    made = await waystation(
        "token", "create", "--name", "ops", "--scope", "admin", *given, cwd=tmp_path
    )
    secret = made.succeeded().out.split()[-1]
    async with running(tmp_path, "--config", config) as server:

        async def status(via: str = server.address, **more: str) -> Done:
            return await waystation("server", "status", "--via", via, cwd=tmp_path, **more)

        assert (await status()).status == 2
        assert "WAYSTATION_TOKEN" in (await status()).err
        assert (await status(WAYSTATION_TOKEN=secret)).succeeded()
        assert (await status(WAYSTATION_TOKEN="wrong")).status == 2
        netrc = tmp_path / "netrc"
        netrc.write_text(f"machine 127.0.0.1 login __token__ password {secret}\n")
        netrc.chmod(0o600)
        assert (await status(NETRC=str(netrc))).succeeded()
        refused = await status(via=server.address.replace("//", f"//__token__:{secret}@"))
        assert refused.status == 2 and secret not in refused.err


@pytest.mark.parametrize(
    "via", ["127.0.0.1:8080", "ftp://127.0.0.1/", "http://", "http://127.0.0.1:1", "http://[::"]
)
async def test_an_address_without_a_server_is_explained(tmp_path: Path, via: str) -> None:
    done = await waystation("server", "status", "--via", via, cwd=tmp_path)
    assert done.status == 2
    assert done.err.startswith("waystation: --via: ") and "Traceback" not in done.err
