"""Work off the loop: in which order it is done, and what becomes of results and errors."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

import pytest

from proxy.runtime.heavy_work import OFFLOAD_ABOVE, run_in_worker

MUCH = OFFLOAD_ABOVE + 1


async def test_what_has_begun_with_a_page_comes_before_what_begins_with_another() -> None:
    done: list[str] = []
    release = threading.Event()
    order = []
    first = asyncio.create_task(run_in_worker(MUCH, lambda: release.wait(20)))
    await asyncio.sleep(0)
    for name, begins in (("a", True), ("b", True), ("c", False), ("d", True), ("e", False)):
        order.append(
            asyncio.create_task(
                run_in_worker(MUCH, _note(done, name), result_stays_in_memory=begins)
            )
        )
    await asyncio.sleep(0)
    release.set()
    assert await asyncio.gather(first, *order) == [True, "a", "b", "c", "d", "e"]
    assert done == ["c", "e", "a", "b", "d"]


def _note(done: list[str], name: str) -> Callable[[], str]:
    def work() -> str:
        done.append(name)
        return name

    return work


async def test_little_is_done_at_once() -> None:
    loop = threading.get_ident()
    assert await run_in_worker(OFFLOAD_ABOVE, threading.get_ident) == loop
    assert await run_in_worker(MUCH, threading.get_ident) != loop


async def test_an_error_reaches_its_caller_and_the_next_work_is_done() -> None:
    with pytest.raises(ZeroDivisionError):
        await run_in_worker(MUCH, lambda: 1 / 0)
    assert await run_in_worker(MUCH, lambda: "next") == "next"


async def test_work_whose_caller_was_cancelled_is_skipped() -> None:
    done: list[str] = []
    release = threading.Event()
    first = asyncio.create_task(run_in_worker(MUCH, lambda: release.wait(20)))
    await asyncio.sleep(0)
    given_up = asyncio.create_task(run_in_worker(MUCH, _note(done, "given up")))
    await asyncio.sleep(0)
    given_up.cancel()
    await asyncio.wait({given_up})
    release.set()
    await first
    assert await run_in_worker(MUCH, _note(done, "next")) == "next"
    assert done == ["next"]
