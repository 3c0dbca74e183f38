"""Limits of clients: what they count, for whom, and what they leave alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from proxy.upstream import TooManyRequests
from proxy.web.limits import Limit, WorkLimit
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until


def refused(limit: WorkLimit, client: str = "10.0.0.1", *, runs: bool = False) -> int | None:
    """The seconds to wait; None if the work may begin."""
    try:
        limit.begin(client, runs=runs)
    except TooManyRequests as error:
        return error.retry_after
    return None


def test_a_rate_is_a_minutes_work_at_once_and_then_as_it_comes_back(clock: Clock) -> None:
    limit = WorkLimit(Limit(per_minute=30), clock)
    assert [refused(limit) for _ in range(31)] == [None] * 30 + [2]
    assert refused(limit, "10.0.0.2") is None
    clock.advance(2)
    assert [refused(limit), refused(limit)] == [None, 2]
    clock.advance(3600)
    assert [refused(limit) for _ in range(31)].count(None) == 30


def test_at_most_so_many_run_at_once(clock: Clock) -> None:
    limit = WorkLimit(Limit(concurrent=2), clock)
    assert [refused(limit), refused(limit), refused(limit)] == [None, None, 1]
    assert refused(limit, runs=True) is None  # more of a request that runs already
    limit.end("10.0.0.1")
    assert refused(limit) is None


def test_memory_is_bounded_by_clients_that_are_seen_and_that_run(clock: Clock) -> None:
    limit = WorkLimit(Limit(per_minute=1, concurrent=1), clock, max_clients=100)
    for number in range(1000):
        assert refused(limit, f"10.0.{number // 256}.{number % 256}") is None
        limit.end(f"10.0.{number // 256}.{number % 256}")
    assert len(limit._buckets) == 100
    assert not limit._running


@pytest.fixture(autouse=True)
def projects(tmp_path: Path, upstream: Upstream) -> None:
    for number in range(6):
        upstream.add(make_wheel(tmp_path / "dist", f"demo{number}", "1.0"))


@asynccontextmanager
async def limited(
    folder: Path, upstream: Upstream, table: str, **more: str
) -> AsyncIterator[Running]:
    given = {"WAYSTATION_LIMITS": table, "WAYSTATION_SPECULATE": "off"} | more
    async with running(folder, "--upstream", upstream.url, **given) as server:
        yield server


async def get(server: Running, path: str, **headers: str) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as client,
        client.get(server.address + path, headers=headers) as answer,
    ):
        await answer.read()
        return answer.status, answer.headers.get("Retry-After", "")


async def test_misses_are_limited_and_hits_are_not(tmp_path: Path, upstream: Upstream) -> None:
    async with limited(tmp_path, upstream, '{"misses_per_minute": 1}') as server:
        assert await get(server, "/simple/demo0/") == (200, "")
        status, wait = await get(server, "/simple/demo1/")
        assert (status, 0 < int(wait) <= 60) == (429, True)
        for _ in range(10):
            assert await get(server, "/simple/demo0/") == (200, "")
        # A page that is stored is answered as it is, rather than revalidated or refused.
        async with asyncio.timeout(30):
            while 'waystation_limited_total{work="misses"} 1.0' in await text(server):
                refresh = {"Cache-Control": "no-cache"}
                assert await get(server, "/simple/demo0/", **refresh) == (200, "")
                await asyncio.sleep(0.1)
        assert upstream.count("/simple/demo0/", "GET") == 1


async def text(server: Running) -> str:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{server.address}/metrics") as answer,
    ):
        return await answer.text()


async def test_a_client_over_its_limit_is_no_trouble_to_those_who_share_a_download(
    tmp_path: Path, upstream: Upstream
) -> None:
    gate = asyncio.Event()
    upstream.fault("/simple/demo0/", Fault(hang=gate))
    async with limited(tmp_path, upstream, '{"concurrent_misses": 1}') as server:
        first = asyncio.create_task(get(server, "/simple/demo0/"))
        await until(lambda: upstream.count("/simple/demo0/", "GET") == 1)
        joined = asyncio.create_task(get(server, "/simple/demo0/"))
        assert await get(server, "/simple/demo1/") == (429, "1")
        gate.set()
        assert list(await asyncio.gather(first, joined)) == [(200, ""), (200, "")]
        assert await get(server, "/simple/demo1/") == (200, "")


@pytest.mark.parametrize("table", ['"exempt": ["127.0.0.0/8"]', '"uploads_per_minute": 1'])
async def test_exempt_addresses_are_not_limited(
    tmp_path: Path, upstream: Upstream, table: str
) -> None:
    both = f'{{"misses_per_minute": 1, {table}}}'
    async with limited(tmp_path, upstream, both) as server:
        statuses = [(await get(server, f"/simple/demo{number}/"))[0] for number in range(3)]
    assert statuses == ([200, 200, 200] if "exempt" in table else [200, 429, 429])


async def test_behind_a_trusted_proxy_its_clients_are_limited(
    tmp_path: Path, upstream: Upstream
) -> None:
    access = '{"anonymous": ["read:*"], "proxy": {"from": ["127.0.0.1"]}}'
    table = '{"misses_per_minute": 1}'
    async with limited(tmp_path, upstream, table, WAYSTATION_ACCESS=access) as server:
        one, other = {"X-Forwarded-For": "10.0.0.1"}, {"X-Forwarded-For": "10.0.0.2"}
        assert (await get(server, "/simple/demo0/", **one))[0] == 200
        assert (await get(server, "/simple/demo1/", **one))[0] == 429
        assert (await get(server, "/simple/demo1/", **other))[0] == 200
        for number in (2, 3, 4):  # by the proxy itself, for a client that is not named
            assert (await get(server, f"/simple/demo{number}/"))[0] == 200


async def test_uploads_are_limited_before_their_body_is_read(
    tmp_path: Path, upstream: Upstream
) -> None:
    async with limited(tmp_path, upstream, '{"uploads_per_minute": 1}') as server:
        statuses = []
        for _ in range(2):
            async with (
                aiohttp.ClientSession() as client,
                client.post(f"{server.address}/legacy/", data={"name": "demo"}) as answer,
            ):
                statuses.append(answer.status)
    assert statuses[0] != 429
    assert statuses[1] == 429


SANE = """{"misses_per_minute": 3000, "concurrent_misses": 100}"""


@pytest.mark.parametrize("tool", ["pip", "uv"])
@pytest.mark.parametrize("table", [SANE, '{"misses_per_minute": 60, "concurrent_misses": 4}'])
async def test_an_install_works_within_limits(
    tmp_path: Path, upstream: Upstream, place: Callable[[], Place], tool: str, table: str
) -> None:
    """Under tight limits uv, which sends all requests at once, tries again as it is asked to."""
    names = [f"demo{number}" for number in range(6)]
    async with limited(tmp_path, upstream, table) as server:
        here = place()
        if tool == "uv":
            index = ("--index-url", server.index)
            done = await here.uv("pip", "install", *index, *names, retries=5)
        else:
            done = await here.install(tool, server.index, *names)
        done.succeeded()
        assert sorted(here.installed()) == names
        refused_requests = [each for each in server.requests() if each["status"] == 429]
    if table == SANE:
        assert not refused_requests
