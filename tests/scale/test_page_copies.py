"""Copies of pages in the object store: what Redis has lost is there, with its validators."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from obstore.store import MemoryStore

from proxy.scale import CopiedRecords, ObjectCalls, RedisLink, RedisRecords
from proxy.storage import Key, RecordKind, StoredPage, StoredPages, pack_page, unpack_page
from tests.support.clock import Clock
from tests.support.content import sha256
from tests.support.installers import Place, Tools, newest_pip
from tests.support.metrics_text import metrics, total
from tests.support.redis_server import RedisServer
from tests.support.replicas import SharedStore, Wheels, get
from tests.support.running import waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

PLACE = "index", "demo"
PATH = "v1/page/index/demo"
DAY = 86_400.0
NEWER = {"checked": 1_000_100.0}


def head(document: bytes, **more: Any) -> StoredPage:
    known: dict[str, Any] = {
        "url": "https://example.com/simple/demo/",
        "content_type": "text/html",
        "checked": 1_000_000.0,
        "lifetime": None,
        "etag": '"a"',
        "digest": sha256(document),
    }
    return StoredPage(**known | more)


class Replicas:
    """Opens the pages as one replica after the other has them."""

    def __init__(self, redis: RedisServer, clock: Clock) -> None:
        self.store = MemoryStore()
        self._redis = redis
        self._clock = clock

    def empty_redis(self) -> None:
        self._redis.ask("FLUSHALL")

    @asynccontextmanager
    async def open(self) -> AsyncIterator[tuple[StoredPages, CopiedRecords]]:
        """Afterwards all copies are written."""
        link, calls = RedisLink(self._redis.url), ObjectCalls(self.store)
        async with calls, CopiedRecords(RedisRecords(link), calls, self._clock) as records:
            yield StoredPages(records, self._clock), records
        await link.close()

    async def put(self, document: bytes, **more: Any) -> bool:
        async with self.open() as (pages, _):
            return await pages.put(*PLACE, head(document, **more), pack_page(document))

    async def found(self) -> StoredPage | None:
        async with self.open() as (pages, _):
            return await pages.head(*PLACE)

    async def copied(self) -> bytes:
        return bytes(await (await self.store.get_async(PATH)).bytes_async())


@pytest.fixture
def replicas(redis_server: RedisServer, clock: Clock) -> Replicas:
    redis_server.ask("FLUSHALL")
    clock.advance(2_000_000 + DAY - clock())
    return Replicas(redis_server, clock)


async def test_a_page_that_redis_has_lost_is_there_and_in_redis_again(replicas: Replicas) -> None:
    await replicas.put(b"page", fence=7)
    replicas.empty_redis()
    async with replicas.open() as (pages, _):
        assert await pages.head(*PLACE) == head(b"page", fence=7)
    await replicas.store.delete_async(PATH)
    async with replicas.open() as (pages, _):
        assert await pages.head(*PLACE) == head(b"page", fence=7)
        packed = await pages.document(*PLACE, sha256(b"page"))
        assert packed and unpack_page(packed) == b"page"


async def test_a_page_is_there_while_redis_is_away(replicas: Replicas) -> None:
    await replicas.put(b"page")
    away, calls = RedisLink("redis://127.0.0.1:1/0"), ObjectCalls(replicas.store)
    async with calls, CopiedRecords(RedisRecords(away), calls) as records:
        pages = StoredPages(records)
        assert await pages.head(*PLACE) == head(b"page")
        assert await pages.document(*PLACE, sha256(b"page"))
    await away.close()


async def test_only_another_document_or_a_day_replaces_a_copy(replicas: Replicas) -> None:
    await replicas.put(b"page")
    first = await replicas.copied()
    async with replicas.open() as (pages, _):
        assert await pages.touch(*PLACE, head(b"page", **NEWER))
    assert await replicas.copied() == first
    async with replicas.open() as (pages, _):
        assert await pages.touch(*PLACE, head(b"page", checked=1_000_001 + DAY))
    replicas.empty_redis()
    assert await replicas.found() == head(b"page", checked=1_000_001 + DAY)
    await replicas.put(b"other", checked=1_000_002 + DAY)
    replicas.empty_redis()
    assert await replicas.found() == head(b"other", checked=1_000_002 + DAY)


@pytest.mark.parametrize("order", [NEWER, {"fence": 2, "checked": 1_000_000.0}])
async def test_an_older_page_does_not_replace_the_copy_of_a_newer_one(
    replicas: Replicas, order: dict[str, Any]
) -> None:
    await replicas.put(b"new", **order)
    replicas.empty_redis()
    await replicas.put(b"old", **{name: value - 1 for name, value in order.items()})
    replicas.empty_redis()
    assert await replicas.found() == head(b"new", **order)


async def test_a_removed_project_has_no_copy(replicas: Replicas) -> None:
    await replicas.put(b"page")
    async with replicas.open() as (pages, _):
        assert await pages.forget(*PLACE)
        assert await pages.head(*PLACE) is None
    assert replicas.store.list().collect() == []


async def test_a_page_of_which_there_is_only_a_copy_can_be_forgotten(replicas: Replicas) -> None:
    await replicas.put(b"page")
    replicas.empty_redis()
    async with replicas.open() as (_, records):
        (key,) = await records.keys(RecordKind.PAGE)
        assert key == Key(RecordKind.PAGE, *PLACE)
        await records.forget(key)
        assert await records.keys() == []
    assert await replicas.found() is None


async def test_a_garbled_copy_is_absent_and_replaced(replicas: Replicas) -> None:
    await replicas.put(b"page")
    whole = await replicas.copied()
    await replicas.store.put_async(PATH, whole[:-1] + b"?")
    replicas.empty_redis()
    assert await replicas.found() is None
    await replicas.put(b"page")
    assert await replicas.copied() == whole


@pytest.mark.slow
@pytest.mark.e2e
async def test_pip_installs_though_redis_is_empty_and_upstream_away(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, redis_url: str,
    redis_server: RedisServer, tmp_path: Path,
) -> None:  # fmt: skip
    sha256 = wheels.add("demo")
    upstream.page_headers["Cache-Control"] = "max-age=0"
    tools = Tools(newest_pip(tmp_path))

    async def install(name: str, asked: int = 0) -> None:
        """``asked``: how often upstream is asked for the page then, in all."""
        async with shared.replica(upstream, records=redis_url) as replica:
            place = Place(tmp_path / name, tools)
            (await place.install("pip", replica.index, "demo")).succeeded()
            assert place.installed() == {"demo": "1.0"}
            await until(lambda: shared.has(sha256))
            await until(lambda: upstream.count("/simple/demo/") >= asked)

    await install("first")
    redis_server.ask("FLUSHALL")
    await upstream.stop()
    await install("second")
    redis_server.ask("FLUSHALL")
    await upstream.start()
    before = upstream.count("/simple/demo/")
    await install("third", before + 1)
    after = upstream.of("/simple/demo/")[before:]
    assert all("If-None-Match" in each.headers for each in after)
    assert wheels.asked == 1
    assert len(await shared.client.list("v1/page/").collect_async()) == 1
    (await waystation("cache", "purge", "demo", cwd=tmp_path,
                      **shared.variables(records=redis_url))).succeeded()  # fmt: skip
    assert await shared.client.list("v1/page/").collect_async() == []


@pytest.mark.slow
async def test_a_store_that_hangs_delays_pages_less_than_its_read_takes(
    frail: SharedStore, upstream: Upstream, wheels: Wheels, redis_url: str
) -> None:
    names = ("foo", "bar")
    for name in names:
        wheels.add(name)
    async with frail.replica(upstream, records=redis_url) as server:
        await server.logged(lambda line: line["message"].endswith(" answers"))
        frail.server.send(signal.SIGSTOP)
        for name in names:
            assert (await get(server, f"/simple/{name}/")).status == 200
        assert total(await metrics(server.address), "store_failures", what="read") == 0
        await server.logged(lambda line: "does not answer" in line["message"])
