"""MirrorReplicas that share Redis: each page is fetched once, whatever happens to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.config.storage_table import StorageTable
from proxy.errors import NoSuchProject, UpstreamError
from proxy.events import Outcome
from tests.support.clock import Clock
from tests.support.faults import Fault
from tests.support.mirror_site import DEMO, PAGE, MirrorSite, OpenMirror
from tests.support.redis_server import RedisServer, redis_program
from tests.support.upstream import Upstream
from tests.support.waiting import until

CLIENTS = 20
"""Of each replica."""


class MirrorReplicas:
    """Mirrors of one upstream, each with a folder of its own, that share one Redis."""

    def __init__(self, site: MirrorSite, stack: AsyncExitStack) -> None:
        self._site = site
        self._stack = stack

    async def open(
        self, url: str, count: int = 2, first: int = 0, **settings: Any
    ) -> list[OpenMirror]:
        shared = {"storage": StorageTable(records=url), **settings}
        return [
            await self._stack.enter_async_context(
                self._site.open(cache_dir=self._site.root / f"replica-{number}", **shared)
            )
            for number in range(first, first + count)
        ]


@pytest.fixture
async def site(tmp_path: Path, clock: Clock) -> AsyncIterator[MirrorSite]:
    async with Upstream() as upstream:
        yield MirrorSite(tmp_path, upstream, clock)


@pytest.fixture
async def replicas(site: MirrorSite) -> AsyncIterator[MirrorReplicas]:
    async with AsyncExitStack() as stack:
        yield MirrorReplicas(site, stack)


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """One that the test may stop."""
    with RedisServer(redis_program()) as server:
        yield server


async def ask_all(mirrors: list[OpenMirror]) -> list[list[str] | BaseException]:
    """The file names that each of the clients gets."""
    asking = (mirror.names() for mirror in mirrors for _ in range(CLIENTS))
    return await asyncio.gather(*asking, return_exceptions=True)


async def test_replicas_fetch_a_page_once(
    site: MirrorSite, replicas: MirrorReplicas, redis_url: str
) -> None:
    file = site.add()
    site.upstream.fault(PAGE, Fault(delay=0.3))
    mirrors = await replicas.open(redis_url, 3)
    assert await ask_all(mirrors) == [[file.content.name]] * 3 * CLIENTS
    assert site.upstream.count(PAGE) == 1


async def test_replicas_fetch_an_expired_page_once_and_with_its_validators(
    site: MirrorSite, replicas: MirrorReplicas, redis_url: str, clock: Clock
) -> None:
    file = site.add()
    mirrors = await replicas.open(redis_url)
    await ask_all(mirrors)
    clock.advance(601)
    site.upstream.fault(PAGE, Fault(delay=0.2))
    assert await ask_all(mirrors) == [[file.content.name]] * 2 * CLIENTS
    first, second = site.upstream.of(PAGE)
    assert "If-None-Match" not in first.headers
    assert "If-None-Match" in second.headers


async def test_replicas_ask_once_for_a_project_that_does_not_exist(
    site: MirrorSite, replicas: MirrorReplicas, redis_url: str
) -> None:
    site.upstream.fault(PAGE, Fault(status=404, delay=0.3))
    answers = await ask_all(await replicas.open(redis_url))
    assert {type(answer) for answer in answers} == {NoSuchProject}
    assert site.upstream.count(PAGE) == 1


async def test_replicas_ask_an_upstream_that_fails_once(
    site: MirrorSite, replicas: MirrorReplicas, redis_url: str
) -> None:
    site.upstream.fault(PAGE, Fault(status=503, delay=0.3))
    answers = await ask_all(await replicas.open(redis_url))
    assert {type(answer) for answer in answers} == {UpstreamError}
    assert len(set(map(str, answers))) == 1
    assert site.upstream.count(PAGE) == 1


async def test_each_replica_asks_itself_where_redis_never_answered(
    site: MirrorSite, replicas: MirrorReplicas, own_redis: RedisServer
) -> None:
    own_redis.kill()
    file = site.add()
    site.upstream.fault(PAGE, Fault(delay=0.2))
    mirrors = await replicas.open(own_redis.url)
    assert await ask_all(mirrors) == [[file.content.name]] * 2 * CLIENTS
    assert site.upstream.count(PAGE) == 2


async def test_each_replica_asks_itself_where_redis_is_frozen(
    site: MirrorSite, replicas: MirrorReplicas, own_redis: RedisServer
) -> None:
    file = site.add()
    mirrors = await replicas.open(own_redis.url)
    with own_redis.frozen():
        assert await ask_all(mirrors) == [[file.content.name]] * 2 * CLIENTS
    assert site.upstream.count(PAGE) == 2


async def test_a_page_that_is_being_fetched_arrives_although_redis_is_killed(
    site: MirrorSite, replicas: MirrorReplicas, own_redis: RedisServer
) -> None:
    file = site.add()
    gate = asyncio.Event()
    site.upstream.fault(PAGE, Fault(hang=gate))
    asking = asyncio.create_task(ask_all(await replicas.open(own_redis.url)))
    await until(lambda: site.upstream.count(PAGE) == 1)
    own_redis.kill()
    await until(lambda: site.upstream.count(PAGE) == 2)
    gate.set()
    assert await asking == [[file.content.name]] * 2 * CLIENTS
    assert site.upstream.count(PAGE) == 2


async def test_a_replica_that_is_cut_off_from_redis_asks_itself(
    site: MirrorSite, replicas: MirrorReplicas, redis_server: RedisServer, redis_url: str
) -> None:
    file = site.add()
    async with RedisRelay(redis_server.port) as relay:
        mirrors = await replicas.open(redis_url)
        (alone,) = await replicas.open(relay.url, 1, first=2)
        relay.cut()
        assert await ask_all([*mirrors, alone]) == [[file.content.name]] * 3 * CLIENTS
        assert site.upstream.count(PAGE) == 2


class RedisRelay:
    """Passes connections on to a port of this machine, until it is cut."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._open: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> RedisRelay:
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.url = f"redis://127.0.0.1:{self._server.sockets[0].getsockname()[1]}/0"
        return self

    async def __aexit__(self, *error: object) -> None:
        self.cut()

    def cut(self) -> None:
        self._server.close()
        for each in self._open:
            each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection("127.0.0.1", self._target)
        self._open |= {writer, there[1]}
        with suppress(OSError):
            await asyncio.gather(_copy(reader, there[1]), _copy(there[0], writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
    writer.close()


async def test_what_was_in_redis_is_revalidated_when_it_was_emptied(
    site: MirrorSite,
    replicas: MirrorReplicas,
    redis_server: RedisServer,
    redis_url: str,
    clock: Clock,
) -> None:
    file = site.add()
    mirrors = await replicas.open(redis_url)
    await ask_all(mirrors)
    redis_server.ask("FLUSHALL")
    clock.advance(601)
    assert await ask_all(mirrors) == [[file.content.name]] * 2 * CLIENTS
    assert all("If-None-Match" in each.headers for each in site.upstream.of(PAGE)[1:])


async def test_a_full_redis_is_a_cache_miss(
    site: MirrorSite, replicas: MirrorReplicas, own_redis: RedisServer
) -> None:
    own_redis.ask("CONFIG SET maxmemory-policy noeviction")
    own_redis.ask("CONFIG SET maxmemory 1")
    file = site.add()
    mirrors = await replicas.open(own_redis.url)
    assert await ask_all(mirrors) == [[file.content.name]] * 2 * CLIENTS
    assert site.upstream.count(PAGE) == 2


async def test_a_garbled_page_in_redis_is_fetched_again(
    site: MirrorSite, replicas: MirrorReplicas, redis_server: RedisServer, redis_url: str
) -> None:
    file = site.add()
    (mirror,) = await replicas.open(redis_url, 1)
    await mirror.page()
    await mirror.mirror.page_stored(DEMO)
    for name in redis_server.ask("KEYS", "*document").split()[2::2]:
        redis_server.ask("HSET", name.decode(), '""', "junk")
    (_, other) = await replicas.open(redis_url)
    assert await other.names() == [file.content.name]
    assert other.outcomes == [Outcome.MISS]


async def test_doubted_pages_are_compared_with_the_stored_ones(
    site: MirrorSite, replicas: MirrorReplicas, redis_url: str
) -> None:
    site.add()
    (mirror,) = await replicas.open(redis_url, 1)
    await mirror.page()
    await mirror.mirror.page_stored(DEMO)
    mirror.mirror.doubt_pages()
    await mirror.page()
    assert mirror.outcomes == [Outcome.MISS, Outcome.HIT]
    assert site.upstream.count(PAGE) == 1


async def test_doubted_pages_that_are_not_stored_any_more_are_revalidated(
    site: MirrorSite, replicas: MirrorReplicas, redis_server: RedisServer, redis_url: str
) -> None:
    file = site.add()
    (mirror,) = await replicas.open(redis_url, 1)
    await mirror.page()
    await mirror.mirror.page_stored(DEMO)
    redis_server.ask("FLUSHALL")
    mirror.mirror.doubt_pages()
    site.upstream.fault(PAGE, Fault(status=503), times=1)
    assert await mirror.names() == [file.content.name]
    assert mirror.outcomes == [Outcome.MISS, Outcome.STALE]
    assert "If-None-Match" in site.upstream.of(PAGE)[1].headers
