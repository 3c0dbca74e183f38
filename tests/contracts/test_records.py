"""The contract of ``Records``, run over every implementation, those of tests included."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from obstore.store import MemoryStore

from proxy.scale import CopiedRecords, ObjectCalls, RedisLink, RedisRecords
from proxy.storage.base import Records
from proxy.storage.in_memory import MemoryRecords
from proxy.storage.keys import Key, RecordKind
from proxy.storage.records import DiskRecords
from tests.support.kill_at_write import KillingRecords
from tests.support.records import CountedRecords

LARGE = bytes(range(256)) * 4000
"""A value that DiskRecords keeps in a file of its own."""
ONE = Key(RecordKind.PAGE, "index", "one")
TWO = Key(RecordKind.DOCUMENT, "index", "one")


@pytest.fixture(params=["disk", "memory", "counted", "killing", "redis", "valkey", "copied"])
async def records(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Records]:
    if request.param == "disk":
        disk = DiskRecords(tmp_path / "records")
        yield disk
        await disk.close()
        return
    if request.param in ("redis", "valkey"):
        link = RedisLink(request.getfixturevalue(f"{request.param}_url"))
        yield RedisRecords(link)
        await link.close()
        return
    if request.param == "copied":
        link = RedisLink(request.getfixturevalue("redis_url"))
        calls = ObjectCalls(MemoryStore())
        async with calls, CopiedRecords(RedisRecords(link), calls) as copied:
            yield copied
        await link.close()
        return
    made: dict[str, Records] = {
        "memory": MemoryRecords(),
        "counted": CountedRecords(),
        "killing": KillingRecords(MemoryRecords(), lambda: None),
    }
    yield made[request.param]


@pytest.mark.parametrize("value", [b"", b"small", LARGE])
async def test_a_value_is_there_until_it_is_forgotten(records: Records, value: bytes) -> None:
    assert await records.get(ONE) is None
    await records.put(ONE, b"former")
    await records.put(ONE, value)
    assert await records.get(ONE) == value
    await records.forget(ONE)
    await records.forget(ONE)
    assert await records.get(ONE) is None


async def test_keys_are_those_of_the_kind_with_these_first_parts(records: Records) -> None:
    kind = RecordKind.CACHED_FILE
    files = [
        Key(kind, index, project, "-", "a%b/é.zip")
        for index in ("index", "index2")
        for project in ("a", "a-b", "a.b", "é")
    ]
    others = [Key(RecordKind.PAGE, "index", "a"), Key(RecordKind.LOCAL_FILES, "/srv/kept/index")]
    for key in [*others, *reversed(files)]:
        await records.put(key, b"")
    assert await records.keys() == sorted([*files, *others])
    assert await records.keys(kind) == sorted(files)
    assert await records.keys(kind, "index") == sorted(files[:4])
    assert await records.keys(kind, "index", "a") == files[:1]
    assert await records.keys(kind, "inde") == await records.keys(RecordKind.PINS) == []
    await records.forget(files[0])
    assert await records.keys(kind, "index", "a") == []


async def test_keys_that_are_found_have_their_parts(records: Records) -> None:
    await records.put(Key(RecordKind.CACHED_FILE, "index", "demo", "sha1-ab", "demo-1.0.zip"), b"")
    (key,) = await records.keys(RecordKind.CACHED_FILE)
    assert key.kind is RecordKind.CACHED_FILE
    assert (key.namespace, key.project, key.digest, key.filename) == (
        *("index", "demo", "sha1-ab", "demo-1.0.zip"),
    )


async def test_values_are_written_together_if_the_test_accepts_the_present_one(
    records: Records,
) -> None:
    assert await records.put_if(ONE, lambda found: found is None, {ONE: b"1", TWO: LARGE})
    assert (await records.get(ONE), await records.get(TWO)) == (b"1", LARGE)
    assert not await records.put_if(ONE, lambda found: found is None, {ONE: b"2", TWO: b"2"})
    assert (await records.get(ONE), await records.get(TWO)) == (b"1", LARGE)
    assert await records.put_if(ONE, lambda found: found == b"1", {ONE: b"3", TWO: None})
    assert (await records.get(ONE), await records.get(TWO)) == (b"3", None)


async def test_one_of_many_simultaneous_conditional_writes_succeeds(records: Records) -> None:
    writes = (
        records.put_if(ONE, lambda found: found is None, {ONE: bytes([number])})
        for number in range(20)
    )
    assert sum(await asyncio.gather(*writes)) == 1


async def test_a_count_that_many_raise_at_once_loses_none(records: Records) -> None:
    async def add() -> None:
        while not await replaced(await records.get(ONE) or b""):
            pass

    async def replaced(before: bytes) -> bool:
        return await records.put_if(
            ONE, lambda found: (found or b"") == before, {ONE: before + b"x"}
        )

    async with asyncio.timeout(60):
        await asyncio.gather(*(add() for _ in range(20)))
    assert await records.get(ONE) == b"x" * 20
