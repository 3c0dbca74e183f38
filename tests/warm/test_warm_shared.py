"""Warming beside others: a server on the same cache, another Waystation, a kill in the middle."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest
from pydantic import HttpUrl

from proxy.composition.cache import open_cache
from proxy.composition.proxy import open_proxy
from proxy.maintenance import verify
from proxy.requirements.resolver import serve_index
from proxy.warm.progress import NoDisplay
from proxy.warm.warm import warm_remote
from tests.support.content import sha256
from tests.support.faults import Fault
from tests.support.requirement_sources import choice
from tests.support.running import Process, environment, running, start
from tests.support.waiting import until
from tests.support.warm_site import LIMIT, WarmSite, read, warm_site

COUNT = 12
"""Projects that are fetched in the tests of kills."""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[WarmSite]:
    async with warm_site(tmp_path) as made:
        yield made


async def test_a_server_on_the_same_cache_has_what_was_warmed(here: WarmSite) -> None:
    path = here.wheel("top")
    options = ("--upstream", here.upstream.url, "--cache-dir", here.cache)
    async with running(here.root, *options) as server, aiohttp.ClientSession() as session:
        async with session.get(f"{server.index}top/") as early:
            assert early.status == 200
        assert (await here.warm("top")).complete
        await here.upstream.stop()
        digest = here.upstream.shelf.files[path.name].entry["hashes"]["sha256"]
        address = f"{server.address}/files/top/{digest}/{path.name}"
        async with session.get(address) as answer:
            assert await answer.read() == path.read_bytes()


@pytest.mark.parametrize("locked", [False, True])
async def test_another_waystation_is_warmed_by_asking_it(
    here: WarmSite, tmp_path: Path, locked: bool
) -> None:
    top = here.wheel("top", requires=["built"])
    built = here.sdist("built", build_requires=["tool"])
    here.wheel("tool")
    line = "{}==1.0 --hash=sha256:{}\n"
    hashed = "".join(
        line.format(path.name.split("-")[0], sha256(path.read_bytes())) for path in (top, built)
    )
    source = here.source("requirements.txt", hashed) if locked else "top"
    remote = here.settings()
    ours = here.settings(cache_dir=tmp_path / "ours")
    async with open_proxy(remote) as proxy, serve_index(proxy.index) as address:
        wants, url = read((source,), choice()), HttpUrl(address)
        async with asyncio.timeout(LIMIT):
            report = await warm_remote(ours, url, wants, choice(), NoDisplay())
    assert report.complete and report.fetched == len(report.needs.files)
    assert not (tmp_path / "ours").exists()
    await here.upstream.stop()
    assert (await here.ready(source)).complete


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
@pytest.mark.parametrize("after", [1, 3, 8, 14, 20])
async def test_ended_in_the_middle_it_completes_when_run_again(
    here: WarmSite, after: int, number: signal.Signals
) -> None:
    names = [f"top{n}" for n in range(COUNT)]
    for name in names:
        here.wheel(name, padding=200_000)
    lines = "".join(f"{name}\n" for name in names)
    source = here.source("requirements.txt", lines)
    here.upstream.fault("*", Fault(delay=0.02, rate=(50_000, 0.02)))
    process, _, _ = await _start(here, source)
    try:
        asked = partial(here.upstream.count, "/files/")
        await until(lambda: asked() >= after or process.returncode is not None, LIMIT)
    finally:
        process.send_signal(number)
        await asyncio.wait_for(process.wait(), LIMIT)
    assert process.returncode == (130 if number is signal.SIGINT else -number)
    assert here.upstream.count("/files/") >= after
    async with open_cache(here.settings()) as cache:
        assert not (await verify(cache)).damaged
    before = here.stored_digests()
    here.upstream.requests.clear()
    process, out, err = await _start(here, source)
    async with asyncio.timeout(LIMIT):
        assert await process.wait() == 0, (await err.read()).decode()
        assert json.loads(await out.read())["complete"]
    again = {each.path.split("/")[3][:62] for each in here.upstream.of(".whl")}
    assert not {key[2:] for key in before} & again, "a stored file was downloaded again"
    await here.upstream.stop()
    assert (await here.ready(source)).complete


async def _start(
    here: WarmSite, source: str
) -> tuple[Process, asyncio.StreamReader, asyncio.StreamReader]:
    options = ("--upstream", here.upstream.url, "--cache-dir", str(here.cache))
    more = ("--python", "3.12", "--platform", "linux", "--jobs", "3", "--quiet", "--json")
    env = environment(here.root / "home")
    return await start(("warm", source, *options, *more), env, here.folder)
