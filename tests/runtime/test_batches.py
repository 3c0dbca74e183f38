"""Batches: what is added while a batch is worked on is one batch, too."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from proxy.runtime import Batches


class Doubling:
    """Doubles numbers; waits before each batch until ``go`` is set."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go = threading.Event()

    def __call__(self, numbers: Sequence[int]) -> list[int | Exception]:
        self.batches.append(list(numbers))
        self.go.wait(30)
        return [ValueError(number) if number < 0 else 2 * number for number in numbers]


@pytest.fixture
def doubling() -> Doubling:
    return Doubling()


async def test_items_that_come_while_a_batch_is_worked_on_are_the_next_batch(
    doubling: Doubling,
) -> None:
    batches = Batches(doubling)
    first = asyncio.create_task(batches.add(1))
    while not doubling.batches:
        await asyncio.sleep(0.001)
    others = [asyncio.create_task(batches.add(number)) for number in range(2, 50)]
    await asyncio.sleep(0)
    doubling.go.set()
    assert await asyncio.gather(first, *others) == [2 * number for number in range(1, 50)]
    assert doubling.batches == [[1], list(range(2, 50))]


async def test_items_of_one_turn_of_the_loop_are_one_batch(doubling: Doubling) -> None:
    doubling.go.set()
    batches = Batches(doubling)
    assert await asyncio.gather(*map(batches.add, range(5))) == [0, 2, 4, 6, 8]
    assert await batches.add(7) == 14
    assert doubling.batches == [list(range(5)), [7]]


async def test_a_batch_of_a_burst_collects_for_a_moment(doubling: Doubling) -> None:
    batches = Batches(doubling, gather=0.5)

    async def two() -> int:
        await batches.add(1)
        return await batches.add(3)

    both = asyncio.create_task(two())
    while not doubling.batches:
        await asyncio.sleep(0.001)
    meanwhile = asyncio.create_task(batches.add(2))
    await asyncio.sleep(0)
    doubling.go.set()
    assert [await meanwhile, await both] == [4, 6]
    assert doubling.batches == [[1], [2, 3]]


async def test_an_error_is_that_of_its_item(doubling: Doubling) -> None:
    doubling.go.set()
    batches = Batches(doubling)
    found = await asyncio.gather(*map(batches.add, (1, -2, 3)), return_exceptions=True)
    assert (found[0], found[2]) == (2, 6)
    assert isinstance(found[1], ValueError)


async def test_an_error_of_the_work_is_that_of_all_items() -> None:
    def work(items: Sequence[int]) -> list[int | Exception]:
        raise OSError("nothing works")

    batches = Batches(work)
    found = await asyncio.gather(*map(batches.add, range(3)), return_exceptions=True)
    assert [str(error) for error in found] == ["nothing works"] * 3
    with pytest.raises(OSError, match="nothing works"):
        await batches.add(4)


async def test_a_cancelled_caller_returns_after_its_work_has_ended(doubling: Doubling) -> None:
    with ThreadPoolExecutor(1) as thread:
        batches = Batches(doubling, thread)
        task = asyncio.create_task(batches.add(1))
        while not doubling.batches:
            await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.sleep(0)
        assert not task.done()
        doubling.go.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await batches.add(2) == 4


def test_a_loop_that_ends_while_a_batch_is_worked_on_waits_for_it(doubling: Doubling) -> None:
    batches = Batches(doubling)

    async def leave() -> None:
        waiting = asyncio.create_task(batches.add(1))
        while not doubling.batches:
            await asyncio.sleep(0.001)
        threading.Timer(0.05, doubling.go.set).start()
        del waiting

    asyncio.run(leave())
    assert asyncio.run(batches.add(2)) == 4
