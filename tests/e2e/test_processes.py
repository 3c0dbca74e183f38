"""Server processes: kills, two servers on one cache, many clients, large files."""

from __future__ import annotations

import asyncio
import hashlib
import random
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running
from tests.support.stored import stored_keys
from tests.support.upstream import Fault, Upstream, run_upstream_process
from tests.support.waiting import until

New = Callable[[], Place]
JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
MB = 10**6


async def address(client: aiohttp.ClientSession, server: Running, project: str) -> str:
    """Of the one file of the project."""
    async with client.get(f"{server.index}{project}/", headers=JSON) as answer:
        (file,) = (await answer.json(content_type=None))["files"]
    return f"{server.address}/{file['url'].removeprefix('../../')}"


async def digest(client: aiohttp.ClientSession, url: str) -> str:
    made = hashlib.sha256()
    async with client.get(url) as answer:
        assert answer.status == 200
        async for piece in answer.content.iter_any():
            made.update(piece)
    return made.hexdigest()


def noise(folder: Path, name: str, size: int) -> tuple[Path, str]:
    """A file with the name of a wheel, and its sha256."""
    block = random.Random(name).randbytes(MB)
    made = hashlib.sha256()
    path = folder / f"{name}-1.0-py3-none-any.whl"
    folder.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        for _ in range(size // MB):
            file.write(block)
            made.update(block)
    return path, made.hexdigest()


def spooled(cache: Path) -> list[Path]:
    return [each for each in (cache / "spool").rglob("*") if each.is_file()]


@pytest.mark.slow
async def test_a_kill_in_the_middle_of_a_download_leaves_no_files(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "foo", "1.0", padding=4 * MB))
    cache = tmp_path / "cache"
    upstream.fault(".whl", Fault(gate=asyncio.Event(), gate_at=2 * MB))
    async with (
        running(tmp_path, "--upstream", upstream.url) as server,
        aiohttp.ClientSession() as client,
        client.get(await address(client, server, "foo")) as answer,
    ):
        await answer.content.readexactly(MB)
        assert spooled(cache)
        server.send(signal.SIGKILL)
        assert await server.ended() == -signal.SIGKILL
        with pytest.raises(aiohttp.ClientError):
            await answer.content.readexactly(3 * MB)
    assert list((cache / "blob").glob("??/*")) == []
    upstream.heal()
    async with running(tmp_path, "--upstream", upstream.url) as server:
        assert spooled(cache) == []
        there = place()
        (await there.install("pip", server.index, "foo")).succeeded()
        assert there.installed() == {"foo": "1.0"}


async def test_two_servers_share_one_cache_folder(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str], place: New
) -> None:
    given = ("--upstream", upstream.url)
    async with running(tmp_path, *given) as one, running(tmp_path, *given) as two:
        places = place(), place()
        done = await asyncio.gather(
            places[0].install("uv", one.index, "aaa"), places[1].install("pip", two.index, "aaa")
        )
        assert [each.status for each in done] == [0, 0]
        assert [each.installed() for each in places] == [chain, chain]
        before = upstream.count("/files/", "GET")
        for server in (one, two):
            (await place().install("uv", server.index, "aaa")).succeeded()
        assert upstream.count("/files/", "GET") == before
        assert spooled(tmp_path / "cache") == []


@pytest.mark.slow
async def test_fifty_clients_of_one_file_are_one_fetch(tmp_path: Path, upstream: Upstream) -> None:
    path, sha256 = noise(tmp_path / "dist", "large", 50 * MB)
    upstream.add(path, metadata=False)
    async with (
        running(tmp_path, "--upstream", upstream.url) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as client,
    ):
        url = await address(client, server, "large")
        digests = await asyncio.gather(*(digest(client, url) for _ in range(50)))
    outcomes = [each["outcome"] for each in server.requests() if each["bytes"] == 50 * MB]
    assert set(digests) == {sha256}
    assert upstream.count("large-1.0", "GET") == 1
    assert outcomes.count("miss") == 1
    assert set(outcomes) <= {"miss", "joined", "hit"}


@pytest.mark.slow
async def test_a_quarter_of_a_gigabyte_is_served_in_constant_memory(tmp_path: Path) -> None:
    _, sha256 = noise(tmp_path / "dist", "huge", 250 * MB)
    with run_upstream_process(tmp_path / "dist") as upstream:
        async with (
            running(tmp_path, "--upstream", upstream.url) as server,
            aiohttp.ClientSession() as client,
        ):
            url = await address(client, server, "huge")
            before = server.peak()
            assert await digest(client, url) == sha256  # as it arrives
            assert await digest(client, url) == sha256  # from the store
            assert server.peak() - before < 60 * MB


async def test_unused_files_are_deleted_while_the_server_runs(
    tmp_path: Path, upstream: Upstream
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0"))
    more = {"WAYSTATION_MAX_UNUSED": "2s", "WAYSTATION_SPECULATE": "off"}
    async with running(tmp_path, "--upstream", upstream.url, **more) as server:
        blobs = tmp_path / "cache" / "blob"
        async with aiohttp.ClientSession() as client:
            file = await address(client, server, "demo")
            first = await digest(client, file)
            await until(lambda: bool(stored_keys(blobs)))
            await until(lambda: not stored_keys(blobs))
            assert await digest(client, file) == first
