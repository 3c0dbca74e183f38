"""Eviction from a store that many machines share: by last use, by one of them, once in a while."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Set
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import obstore.store
import pytest

from proxy.scale import Janitor, ObjectCalls, ObjectStore, lock_of_machine
from proxy.scale.janitor import NOTE
from proxy.storage import LastUsed, Lifetime, MemoryRecords
from tests.support.clock import Clock
from tests.support.content import random_bytes, sha256
from tests.support.redis_server import RedisServer, redis_program
from tests.support.replicas import SharedStore, Wheels, get
from tests.support.running import running, waystation
from tests.support.upstream import Upstream
from tests.support.waiting import until

SIZE = 1000
HOUR = 3600.0


class EvictionWorld:
    """Ten blobs of a thousand bytes in a store in memory, and what evicts from it.

    Each was last used an hour after the one before.
    """

    def __init__(self, folder: Path) -> None:
        self.memory = obstore.store.MemoryStore()
        self.keys: list[str] = []
        self.deleted: list[tuple[int, int]] = []
        self.pins: Set[str] = frozenset()
        self._folder = folder
        self._clock = Clock(time.time())  # as the store, which knows when each was put

    @asynccontextmanager
    async def janitor(
        self, max_size: int | None, lifetime: Lifetime | None = None
    ) -> AsyncIterator[Janitor]:
        async with AsyncExitStack() as stack:
            calls = await stack.enter_async_context(ObjectCalls(self.memory))
            store = ObjectStore(calls, self._folder / "spool")
            self.used = LastUsed(MemoryRecords(), clock=self._clock)
            for number in range(10):
                content = random_bytes(SIZE, number)
                self.keys.append(sha256(content))
                await store.put(self.keys[-1], content)
                self.used.note(self.keys[-1])
                self._clock.advance(HOUR)
            self.store = store
            janitor = Janitor(
                calls,
                store,
                self.used,
                max_size,
                every=HOUR,
                hold=lock_of_machine(self._folder / "lock"),
                lifetime=lifetime,
                clock=self._clock,
                pinned=self._pinned,
                deleted=lambda files, size: self.deleted.append((files, size)),
            )
            yield await stack.enter_async_context(janitor)

    async def _pinned(self) -> Set[str]:
        return self.pins

    async def left(self) -> list[int]:
        """The numbers of the blobs that are left."""
        there = await self.store.present(self.keys)
        return [number for number, key in enumerate(self.keys) if key in there]


@pytest.fixture
def world(tmp_path: Path) -> EvictionWorld:
    return EvictionWorld(tmp_path)


async def test_the_least_recently_used_blobs_are_deleted_down_to_nine_tenths(
    world: EvictionWorld,
) -> None:
    async with world.janitor(7 * SIZE) as janitor:
        world.used.note(world.keys[0])
        assert await janitor.evict()
        assert await world.left() == [0, 5, 6, 7, 8, 9]
        assert (janitor.total, world.deleted) == (6 * SIZE, [(4, 4 * SIZE)])
        assert await janitor.evict()
        assert len(await world.left()) == 6


async def test_a_store_below_its_limit_is_left_as_it_is(world: EvictionWorld) -> None:
    for limit in (10 * SIZE, None):
        async with world.janitor(limit) as janitor:
            assert await janitor.evict()
            assert len(await world.left()) >= 10
            assert world.deleted == []


async def test_pinned_blobs_and_those_in_use_stay(world: EvictionWorld) -> None:
    async with world.janitor(1) as janitor:
        world.pins = {world.keys[3]}
        world.used.note(world.keys[5])
        assert await janitor.evict()
        assert await world.left() == [3, 5]


async def test_old_and_unused_blobs_are_deleted(world: EvictionWorld) -> None:
    async with world.janitor(None, Lifetime(max_unused=5.5 * HOUR)) as janitor:
        world.used.note(world.keys[0])
        assert await janitor.evict()
        assert await world.left() == [0, 5, 6, 7, 8, 9]


async def test_one_process_evicts_at_a_time(world: EvictionWorld, tmp_path: Path) -> None:
    async with world.janitor(1) as janitor, lock_of_machine(tmp_path / "lock")() as mine:
        assert mine
        assert not await janitor.evict()
        assert len(await world.left()) == 10


async def test_nothing_else_in_the_store_is_deleted(world: EvictionWorld) -> None:
    async with world.janitor(1) as janitor:
        for path in ("v1/own/main/foo/foo-1.0.json", "v1/blob/ab/other", "other/file"):
            await world.memory.put_async(path, b"1")
        assert await janitor.evict()
        assert await world.left() == []
        left = [each["path"] for each in await world.memory.list().collect_async()]
        assert sorted(left) == [
            *("other/file", "v1/blob/ab/other", NOTE, "v1/own/main/foo/foo-1.0.json")
        ]


async def test_servers_look_by_themselves_and_one_look_counts_for_all(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    for name in ("foo", "bar"):
        wheels.add(name, 300_000)
    async with shared.replica(upstream, evict_every=1) as server:
        for name in ("foo", "bar"):
            await get(server, wheels.path(name))
            await until(lambda name=name: shared.has(wheels.sha256(name)))  # type: ignore[misc]
        await until(lambda: noted(shared, 600_000))


async def noted(shared: SharedStore, least: int) -> bool:
    try:
        found = await shared.client.get_async(NOTE)
    except FileNotFoundError:
        return False
    return bool(json.loads(bytes(await found.bytes_async()))["bytes"] >= least)


async def test_the_command_evicts_once(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    wheels.add("foo", 300_000)
    async with shared.replica(upstream) as server:
        await get(server, wheels.path("foo"))
        await until(lambda: shared.has(wheels.sha256("foo")))
    more = {"WAYSTATION_MAX_UNUSED": "0.001", **shared.variables()}
    done = await waystation("cache", "evict", cwd=tmp_path, **more)
    assert done.succeeded().out.startswith("deleted 1 file, ")
    assert await shared.blobs() == 0


async def test_the_command_evicts_from_a_folder_too(
    upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    wheels.add("foo", 300_000)
    async with running(tmp_path, "--upstream", upstream.url) as server:
        await get(server, wheels.path("foo"))
        blob = tmp_path / "cache" / "blob" / wheels.sha256("foo")[:2] / wheels.sha256("foo")
        await until(blob.is_file)
    given = ("cache", "evict", "--cache-dir", tmp_path / "cache")
    done = await waystation(*given, cwd=tmp_path, WAYSTATION_MAX_SIZE="1000")
    assert done.succeeded().out.startswith("deleted ")
    assert not blob.exists()


@pytest.mark.parametrize("folder", [False, True], ids=["object-store", "folder"])
async def test_nothing_is_evicted_while_redis_is_away(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path, folder: bool
) -> None:
    """Which files are pinned is in Redis."""
    sha256 = wheels.add("foo", 300_000)
    (tmp_path / "files").mkdir()
    copy = tmp_path / "files" / "v1" / "blob" / sha256[:2] / sha256

    async def is_stored() -> bool:
        return copy.is_file() if folder else await shared.has(sha256)

    storage = {"files": f"file:{tmp_path}/files"} if folder else {}
    with RedisServer(redis_program()) as redis:
        storage["records"] = redis.url
        async with shared.replica(upstream, **storage) as server:
            await get(server, wheels.path("foo"))
            await until(is_stored)
    little = {"WAYSTATION_MAX_SIZE": "1000", **shared.variables(**storage)}
    done = await waystation("cache", "evict", cwd=tmp_path, **little)
    assert "which files are pinned cannot be read" in done.err
    assert await is_stored()
