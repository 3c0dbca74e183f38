"""Which files go when the store is full, and which stay whatever it costs."""

from __future__ import annotations

import asyncio
import fcntl
import os
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Any

import pytest

from proxy.storage.disk_store import DiskStore
from proxy.storage.eviction import Evictor, Lifetime
from proxy.storage.keys import RecordKind
from proxy.storage.last_used import LastUsed
from proxy.storage.pins import Pins
from proxy.storage.records import DiskRecords
from proxy.storage.shared_size import SharedSize
from tests.support.clock import Clock
from tests.support.stored import stored_bytes, stored_keys
from tests.support.waiting import until

SIZE = 1000
DAY = 86400.0


def key(number: int) -> str:
    return f"{number:064x}"


class Cache:
    """Ten files of one size, stored a day apart, the last one a day ago."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self.root = root
        self.clock = clock
        self.store = DiskStore(root / "blob")
        self.records = DiskRecords(root / "records")
        self.used = LastUsed(self.records, clock=clock)

    async def fill(self, numbers: Iterable[int] = range(10)) -> None:
        for number in numbers:
            spool = self.root / "spool"
            spool.write_bytes(bytes(SIZE))
            os.utime(spool, (0, self.clock() - max(10 - number, 1) * DAY))
            await self.store.put(key(number), spool)

    def evictor(self, max_size: int | None, **options: Any) -> Evictor:
        lock = self.root / "blob.lock"
        return Evictor(self.store, self.used, max_size, lock=lock, **options)

    def left(self) -> list[int]:
        return sorted(int(key, 16) for key in stored_keys(self.store.root))


@pytest.fixture
async def cache(tmp_path: Path, clock: Clock) -> AsyncIterator[Cache]:
    made = Cache(tmp_path, clock)
    await made.fill()
    yield made
    await made.records.close()


async def test_up_to_the_limit_nothing_goes(cache: Cache) -> None:
    await cache.evictor(10 * SIZE).enforce()
    await cache.evictor(None).enforce(10**12)
    assert len(cache.left()) == 10


async def test_beyond_it_the_oldest_go_down_to_nine_tenths(cache: Cache) -> None:
    await cache.evictor(6 * SIZE).enforce()
    assert cache.left() == [5, 6, 7, 8, 9]


async def test_what_was_used_lately_stays_longer_than_what_was_stored_lately(
    cache: Cache,
) -> None:
    cache.used.note(key(0))
    await cache.used.flush()
    cache.used.note(key(1))
    cache.clock.advance(120)
    await cache.evictor(5 * SIZE).enforce()
    assert cache.left() == [0, 1, 8, 9]


async def test_what_is_busy_or_pinned_stays(cache: Cache) -> None:
    pins, busy = Pins(cache.records), {key(1)}
    await pins.put("somebody", {key(0)})
    evictor = cache.evictor(SIZE, pinned=pins.all, busy=busy.__contains__)
    await evictor.enforce()
    assert cache.left() == [0, 1]


async def test_what_is_being_sent_stays(cache: Cache) -> None:
    blob = await cache.store.get(key(0))
    assert blob
    async with aclosing(blob.spans()) as spans:
        await anext(spans)
        await cache.evictor(SIZE, busy=cache.store.busy).enforce()
        assert cache.left() == [0]
    await cache.evictor(0, busy=cache.store.busy).enforce()
    assert cache.left() == []


async def test_what_is_asked_for_while_others_go_stays(cache: Cache) -> None:
    def busy(asked: str) -> bool:
        cache.used.note(key(1))  # by a request that comes while the oldest one is looked at
        return False

    await cache.evictor(8 * SIZE, busy=busy).enforce()
    assert cache.left() == [1, 4, 5, 6, 7, 8, 9]


async def test_there_is_room_before_a_file_is_put(cache: Cache) -> None:
    evictor = cache.evictor(10 * SIZE)
    for number in range(20, 60):  # in less than a moment
        async with evictor.room(SIZE):
            assert len(cache.left()) < 10
            await cache.fill([number])
            os.utime(cache.store.path(key(number)), (0, cache.clock() + number))
    assert cache.left()[-1] == 59


async def test_files_that_arrive_together_have_room_together(cache: Cache) -> None:
    evictor = cache.evictor(10 * SIZE)

    async def arrive(number: int) -> None:
        async with evictor.room(2 * SIZE):
            await asyncio.sleep(0)
            assert len(cache.left()) <= 10
            spool = cache.root / f"spool-{number}"
            spool.write_bytes(bytes(2 * SIZE))
            await cache.store.put(key(number), spool)

    await asyncio.gather(*(arrive(number) for number in range(20, 24)))
    assert stored_bytes(cache.store.root) <= 10 * SIZE


async def test_a_file_that_was_not_put_takes_no_room(cache: Cache) -> None:
    evictor = cache.evictor(20 * SIZE)
    for _ in range(100):
        with suppress(OSError):
            async with evictor.room(SIZE):
                raise OSError
    assert len(cache.left()) == 10


async def test_what_other_processes_put_counts_at_once(cache: Cache) -> None:
    evictors = [cache.evictor(20 * SIZE) for _ in range(4)]
    for evictor in evictors:
        await evictor.enforce()
    for number in range(20, 100):
        async with evictors[number % 4].room(SIZE):
            await cache.fill([number])
            os.utime(cache.store.path(key(number)), (0, cache.clock() + number))
        assert len(cache.left()) <= 20
    assert cache.left()[-1] == 99
    assert {evictor.total for evictor in evictors} == {len(cache.left()) * SIZE}


async def test_files_that_four_processes_put_at_once_have_room_together(cache: Cache) -> None:
    evictors = [cache.evictor(12 * SIZE) for _ in range(4)]
    most = 0

    async def arrive(number: int) -> None:
        nonlocal most
        async with evictors[number % 4].room(2 * SIZE):
            await asyncio.sleep(0)
            spool = cache.root / f"spool-{number}"
            spool.write_bytes(bytes(2 * SIZE))
            await cache.store.put(key(number), spool)
        most = max(most, stored_bytes(cache.store.root))

    await asyncio.gather(*(arrive(number) for number in range(20, 60)))
    assert most <= 12 * SIZE


async def test_what_a_process_that_died_was_about_to_put_is_forgotten(
    cache: Cache,
) -> None:
    size = SharedSize(cache.root / "size")
    size.reserve(10**9)
    path = cache.root / "size"
    stored, reserved, changed = struct.unpack("<qqq", path.read_bytes())
    path.write_bytes(struct.pack("<qqq", stored, reserved, changed - 601))
    SharedSize(path).reserve(5)
    assert size.read().promised == 5


@pytest.mark.parametrize(
    ("lifetime", "left"),
    [
        (Lifetime(max_age=5.5 * DAY), [5, 6, 7, 8, 9]),
        (Lifetime(max_unused=5.5 * DAY), [0, 5, 6, 7, 8, 9]),
        (Lifetime(max_age=3.5 * DAY, max_unused=1.5 * DAY), [9]),
        (Lifetime(), list(range(10))),
    ],
)
async def test_old_and_unused_files_go(cache: Cache, lifetime: Lifetime, left: list[int]) -> None:
    cache.used.note(key(0))
    reported: list[tuple[int, int]] = []
    evictor = cache.evictor(
        None, lifetime=lifetime, clock=cache.clock, deleted=lambda *went: reported.append(went)
    )
    await evictor.sweep()
    assert cache.left() == left
    assert sum(count for count, _ in reported) == 10 - len(left)


async def test_old_files_that_are_sent_or_pinned_stay(cache: Cache) -> None:
    pins, busy = Pins(cache.records), {key(1)}
    await pins.put("somebody", {key(0)})
    lifetime = Lifetime(max_age=DAY / 2)
    evictor = cache.evictor(
        None, lifetime=lifetime, clock=cache.clock, pinned=pins.all, busy=busy.__contains__
    )
    await evictor.sweep()
    assert cache.left() == [0, 1]


async def test_files_are_looked_at_again_and_again(cache: Cache) -> None:
    evictor = cache.evictor(None, lifetime=Lifetime(max_age=5.5 * DAY), clock=cache.clock)
    async with evictor:
        evictor.start_sweeping()
        await until(lambda: len(cache.left()) == 5)
    for limits, pause in (((5 * DAY, None), 600), ((None, 60.0), 6), ((0.1, 60.0), 1)):
        assert Lifetime(*limits).interval == pause


async def test_the_limit_is_kept_at_every_put(cache: Cache) -> None:
    evictor = cache.evictor(10 * SIZE)
    await evictor.enforce()
    for number in range(20, 60):
        await cache.fill([number])
        os.utime(cache.store.path(key(number)), (0, cache.clock()))
        await evictor.enforce(SIZE)
        assert len(cache.left()) <= 10
    assert cache.left()[-1] == 59


async def test_one_process_at_a_time_deletes(cache: Cache) -> None:
    with (cache.root / "blob.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        await cache.evictor(SIZE).enforce()
        assert len(cache.left()) == 10
    await asyncio.gather(*(cache.evictor(SIZE * 5).enforce() for _ in range(3)))
    assert cache.left() == [6, 7, 8, 9]


async def test_nothing_but_the_stores_own_files_goes(cache: Cache) -> None:
    foreign = cache.root / "blob" / "00" / "README"
    foreign.write_bytes(bytes(SIZE))
    await cache.evictor(0).enforce()
    assert cache.left() == []
    assert foreign.exists()


async def test_what_is_deleted_is_no_longer_remembered_as_used(cache: Cache) -> None:
    for number in range(10):
        cache.used.note(key(number))
    await cache.used.flush()
    assert len(await cache.records.keys(RecordKind.LAST_USED)) == 10
    cache.clock.advance(120)
    await cache.evictor(0).enforce()
    assert await cache.records.keys(RecordKind.LAST_USED) == []


async def test_a_folder_that_cannot_be_written_is_left_alone(cache: Cache) -> None:
    (cache.root / "blob.lock").mkdir()
    await cache.evictor(SIZE).enforce()
    assert len(cache.left()) == 10


async def test_uses_are_written_down_now_and_then_and_at_the_end(
    tmp_path: Path, clock: Clock
) -> None:
    records = DiskRecords(tmp_path / "records")
    async with LastUsed(records, every=0.01, clock=clock) as used:
        used.note(key(1))

        async def is_written() -> bool:
            return bool(await records.keys(RecordKind.LAST_USED))

        await until(is_written)
    async with LastUsed(records, clock=clock) as used:
        used.note(key(2))
        assert await used.get(key(2)) == clock()
    again = LastUsed(records, clock=clock)
    assert await again.get(key(1)) == await again.get(key(2)) == clock()
    assert await again.get(key(3)) is None
    await records.close()


async def test_a_use_during_the_writing_is_not_lost(tmp_path: Path, clock: Clock) -> None:
    records = DiskRecords(tmp_path / "records")
    used = LastUsed(records, clock=clock)
    used.note(key(1))
    writing = asyncio.create_task(used.flush())
    await asyncio.sleep(0)
    clock.advance(5)
    used.note(key(1))
    await writing
    await used.flush()
    assert await LastUsed(records).get(key(1)) == clock()
    await records.close()


async def test_the_evicted_bytes_are_logged(cache: Cache) -> None:
    reported: list[tuple[int, int]] = []
    evictor = cache.evictor(6 * SIZE, deleted=lambda *went: reported.append(went))
    await evictor.enforce()
    await evictor.enforce()
    assert reported == [(5, 5 * SIZE)]
