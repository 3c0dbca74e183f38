"""How guesses are run: few at once, the most urgent first, behind what clients want."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial

import pytest

from proxy.errors import NoSuchProject, UnreadablePage, UpstreamError
from proxy.prefetch.scheduler import Scheduler
from tests.support.waiting import until

CONNECTIONS = 32
AT_ONCE, FILES_AT_ONCE, BUSY, BUSY_FOR_FILES = 10, 4, 24, 16


class Guesses:
    def __init__(self) -> None:
        self.in_flight = 0
        self.looks = 0
        """How often the scheduler has looked at ``in_flight``."""
        self.runner = Scheduler(self._look, CONNECTIONS)
        self.begun: list[object] = []
        self.gate = asyncio.Event()

    def add(
        self, name: object, urgency: int = 0, *, file: bool = False, pause: float = 0.0
    ) -> None:
        self.runner.add(urgency, partial(self._wait, name), file=file, pause=pause)

    def fail(self, error: Exception) -> None:
        self.runner.add(0, partial(self._raise, error))

    async def done(self) -> None:
        await until(lambda: self.runner.idle)

    def _look(self) -> int:
        self.looks += 1
        return self.in_flight

    async def _wait(self, name: object) -> None:
        self.begun.append(name)
        await self.gate.wait()

    async def _raise(self, error: Exception) -> None:
        self.begun.append(error)
        raise error


@pytest.fixture
async def guesses() -> AsyncIterator[Guesses]:
    made = Guesses()
    yield made
    await made.runner.close()


async def test_nothing_begins_before_the_caller_has_returned_to_the_loop(guesses: Guesses) -> None:
    guesses.add("a")
    assert guesses.begun == []
    await until(lambda: guesses.begun == ["a"])


async def test_a_pause_is_not_made_longer_by_later_work(guesses: Guesses) -> None:
    guesses.add("first", pause=0.01)
    for number in range(20):
        guesses.add(number, pause=600.0)
    await until(lambda: "first" in guesses.begun)


async def test_what_need_not_pause_begins_at_once(guesses: Guesses) -> None:
    guesses.add("paused", pause=600.0)
    guesses.add("now")
    await until(lambda: "now" in guesses.begun)


async def test_only_so_many_run_at_once_and_files_apart(guesses: Guesses) -> None:
    for number in range(50):
        guesses.add(number)
        guesses.add(f"file {number}", file=True)
    allowed = AT_ONCE + FILES_AT_ONCE
    await until(lambda: len(guesses.begun) >= allowed)
    await asyncio.sleep(0)
    assert len(guesses.begun) == allowed
    guesses.gate.set()
    await guesses.done()
    assert len(guesses.begun) == 100


async def test_the_most_urgent_begin_first(guesses: Guesses) -> None:
    for urgency in (2, 0, 1, 0):
        guesses.add(urgency, urgency)
    guesses.gate.set()
    await guesses.done()
    assert guesses.begun == [0, 0, 1, 2]


async def test_while_upstream_is_busy_nothing_begins(guesses: Guesses) -> None:
    guesses.in_flight = BUSY_FOR_FILES
    guesses.add("page")
    guesses.add("file", file=True)
    await until(lambda: guesses.begun == ["page"])
    guesses.in_flight = BUSY
    guesses.add("later")
    looks = guesses.looks
    await until(lambda: guesses.looks > looks + 2)
    assert guesses.begun == ["page"]
    guesses.in_flight = 0
    await until(lambda: len(guesses.begun) == 3)


async def test_what_begins_counts_before_it_is_in_flight(guesses: Guesses) -> None:
    guesses.in_flight = BUSY - 3
    for number in range(10):
        guesses.add(number)
    await until(lambda: len(guesses.begun) == 3)


@pytest.mark.parametrize(
    "error", [NoSuchProject("x"), UnreadablePage("pypi", "odd"), ValueError("a fault of ours")]
)
async def test_a_guess_that_comes_to_nothing_stops_no_other(
    guesses: Guesses, error: Exception
) -> None:
    guesses.fail(error)
    await guesses.done()
    guesses.add("next")
    await until(lambda: guesses.begun == [error, "next"])


async def test_an_upstream_that_fails_is_left_alone(guesses: Guesses) -> None:
    guesses.fail(UpstreamError("pypi", "it answered 503"))
    await guesses.done()
    guesses.add("next")
    guesses.add("file", file=True)
    await guesses.done()
    assert len(guesses.begun) == 1


async def test_closing_ends_what_runs_and_begins_nothing(guesses: Guesses) -> None:
    guesses.add("a")
    await until(lambda: guesses.begun == ["a"])
    guesses.add("b")
    await guesses.runner.close()
    guesses.add("c")
    await asyncio.sleep(0)
    assert guesses.begun == ["a"]


async def test_with_one_connection_there_is_still_a_guess_at_a_time() -> None:
    made = Guesses()
    made.runner = Scheduler(lambda: made.in_flight, 1)
    for number in range(3):
        made.add(number)
    await until(lambda: made.begun == [0])
    made.gate.set()
    await made.done()
    assert made.begun == [0, 1, 2]
    await made.runner.close()
