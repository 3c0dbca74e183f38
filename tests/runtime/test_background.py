"""Background work: one task for each key, a few at a time, after a delay."""

from __future__ import annotations

import asyncio

import pytest

from proxy.runtime.background import MAX_RUNNING, BackgroundQueue
from tests.support.waiting import until


class Work:
    def __init__(self) -> None:
        self.begun: list[int] = []
        self.gate = asyncio.Event()

    async def __call__(self, key: int) -> None:
        self.begun.append(key)
        await self.gate.wait()


async def test_work_begins_after_the_caller_returns_and_once_for_each_key() -> None:
    work = Work()
    work.gate.set()
    behind = BackgroundQueue(work, delay=0.01)
    for key in (1, 2, 1):
        behind.add(key)
    await asyncio.sleep(0)
    assert work.begun == []
    await until(lambda: work.begun == [1, 2])
    behind.add(1)
    await until(lambda: work.begun == [1, 2, 1])
    await behind.close()


async def test_only_a_few_are_under_way_at_once() -> None:
    work = Work()
    behind = BackgroundQueue(work, delay=0.0)
    for key in range(3 * MAX_RUNNING):
        behind.add(key)
    await until(lambda: len(work.begun) >= MAX_RUNNING)
    await asyncio.sleep(0)
    assert len(work.begun) == MAX_RUNNING
    work.gate.set()
    await until(lambda: len(work.begun) == 3 * MAX_RUNNING)
    await behind.close()


async def test_what_is_added_while_others_are_under_way_is_done_too() -> None:
    work = Work()
    behind = BackgroundQueue(work, delay=0.0)
    behind.add(1)
    await until(lambda: work.begun == [1])
    behind.add(2)
    work.gate.set()
    await until(lambda: work.begun == [1, 2])
    await behind.close()


async def test_closing_drops_what_has_not_begun() -> None:
    work = Work()
    behind = BackgroundQueue(work, delay=30.0)
    behind.add(1)
    await asyncio.wait_for(behind.close(), 5)
    assert work.begun == []
    await BackgroundQueue(work).close()


async def test_a_mistake_with_one_key_stops_no_other(caplog: pytest.LogCaptureFixture) -> None:
    done: list[int] = []

    async def work(key: int) -> None:
        done.append(10 // key)

    behind = BackgroundQueue(work, delay=0.0)
    behind.add(0)
    behind.add(5)
    await until(lambda: done == [2])
    await until(lambda: "ZeroDivisionError" in caplog.text)
    behind.add(2)
    await until(lambda: done == [2, 5])
    await behind.close()
