"""Claims on names that a local directory has, or had, and how they are given up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from proxy.errors import NoSuchProject
from proxy.indexes.local.claims import Claims
from tests.support.directories import BAR, FOO, names, opened
from tests.support.distributions import make_wheel
from tests.support.records import MemoryRecords


class SlowRecords(MemoryRecords):
    """Says when a value is about to be put, and waits for leave."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()
        self.leave = asyncio.Event()

    async def put(self, key: str, value: bytes) -> None:
        self.began.set()
        await self.leave.wait()
        await super().put(key, value)


@pytest.mark.parametrize("watch", [True, False])
async def test_a_claim_purged_right_after_its_files_were_deleted_is_gone(
    tmp_path: Path, watch: bool
) -> None:
    records = MemoryRecords()
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path, records, watch=watch) as directory:
        assert await names(directory) == [wheel.name]
        wheel.unlink()
        await directory.release(FOO)
        for _ in range(2):
            with pytest.raises(NoSuchProject):
                await directory.page(FOO)
        assert FOO not in await directory.projects()
    assert await records.keys("claim/") == []


@pytest.mark.parametrize("watch", [True, False])
async def test_a_name_that_is_purged_while_it_has_files_stays_private(
    tmp_path: Path, watch: bool
) -> None:
    records = MemoryRecords()
    wheel = make_wheel(tmp_path, "foo", "1.0")
    async with opened(tmp_path, records, watch=watch, rescan=0.02) as directory:
        async with asyncio.timeout(20):
            while not (keys := await records.keys("claim/")):
                await asyncio.sleep(0.01)
        await records.forget(keys[0])  # as another process does
        await directory.release(FOO)
        wheel.unlink()
        assert await names(directory) == []
    assert await records.keys("claim/") == keys
    async with opened(tmp_path, records, watch=watch) as directory:
        assert await names(directory) == []


async def test_only_the_claim_that_is_named_is_given_up(tmp_path: Path) -> None:
    records = MemoryRecords()
    for name in ("foo", "bar"):
        make_wheel(tmp_path, name, "1.0")
    async with opened(tmp_path, records) as directory:
        for wheel in tmp_path.glob("*.whl"):
            wheel.unlink()
        await directory.release(FOO)
        assert await names(directory, BAR) == []
        assert await directory.projects() == {"bar"}


async def test_a_claim_released_while_claims_are_recorded_is_not_recorded() -> None:
    records = SlowRecords()
    claims = Claims("/srv/packages", records)
    claims.add([FOO, BAR])
    saving = asyncio.create_task(claims.save())
    await records.began.wait()  # with the first by name, which is the other
    await claims.release(FOO)
    records.leave.set()
    await saving
    assert [key.rpartition("/")[2] for key in records.content] == ["bar"]
    claims.add([FOO])
    await claims.save()
    assert len(records.content) == 2


async def test_claims_are_recorded_once() -> None:
    records = MemoryRecords()
    claims = Claims("/srv/packages", records)
    for _ in range(2):
        claims.add([FOO])
        await claims.save()
    assert records.writes == 1
    again = Claims("/srv/packages", records)
    await again.load()
    again.add([FOO])
    again.renew([BAR])
    await again.save()
    assert (again.names, records.writes) == ({FOO}, 1)
    again.renew([FOO])
    await again.save()
    assert records.writes == 2
