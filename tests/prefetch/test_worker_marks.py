"""What other processes were asked, as far as one process can know."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from proxy.prefetch.fetcher import MARK_COLUMNS, PrefetchStats, PrefetchTally, WorkerMarks
from proxy.runtime.shared_memory import SharedCounters, new_memory

PREFETCHED_FILE = ("main", "demo", "demo-1.0-py3-none-any.whl")
PAGE = ("main", "demo", "")
NOW = 1_700_000_000.5


@pytest.fixture
def both() -> Iterator[tuple[WorkerMarks, WorkerMarks]]:
    memory = new_memory(2)
    yield (
        WorkerMarks(SharedCounters.shared(memory, 0)),
        WorkerMarks(SharedCounters.shared(memory, 1)),
    )
    os.close(memory)


def test_one_knows_what_the_other_was_asked(both: tuple[WorkerMarks, WorkerMarks]) -> None:
    mine, theirs = both
    theirs.note(PREFETCHED_FILE, NOW)
    assert mine.requested(PREFETCHED_FILE, NOW - 10)
    assert not mine.requested(PAGE, NOW - 10)


def test_what_was_asked_before_does_not_count(both: tuple[WorkerMarks, WorkerMarks]) -> None:
    mine, theirs = both
    theirs.note(PREFETCHED_FILE, NOW)
    assert not mine.requested(PREFETCHED_FILE, NOW + 1)
    theirs.note(PREFETCHED_FILE, NOW + 2)
    assert mine.requested(PREFETCHED_FILE, NOW + 1)


def test_what_it_was_asked_itself_it_knows_better(both: tuple[WorkerMarks, WorkerMarks]) -> None:
    mine, _ = both
    mine.note(PREFETCHED_FILE, NOW)
    assert not mine.requested(PREFETCHED_FILE, NOW)


def test_another_index_is_another_key(both: tuple[WorkerMarks, WorkerMarks]) -> None:
    mine, theirs = both
    theirs.note(PREFETCHED_FILE, NOW)
    assert not mine.requested(("other", *PREFETCHED_FILE[1:]), NOW - 10)


def test_many_marks_stay_apart(both: tuple[WorkerMarks, WorkerMarks]) -> None:
    """As many as may be asked within a few seconds: hardly one is lost, and none made up."""
    mine, theirs = both
    for number in range(MARK_COLUMNS // 20):
        theirs.note(("main", "requested", str(number)), NOW)
    known = [
        mine.requested(("main", "requested", str(number)), NOW)
        for number in range(MARK_COLUMNS // 20)
    ]
    assert known.count(False) < len(known) / 20
    assert not any(
        mine.requested(("main", "unrequested", str(number)), NOW) for number in range(MARK_COLUMNS)
    )


def test_what_a_guess_fetched_and_another_process_was_asked_for_is_a_hit(
    both: tuple[WorkerMarks, WorkerMarks],
) -> None:
    mine, theirs = both
    tally = PrefetchTally()
    for key in (PREFETCHED_FILE, PAGE):
        tally.begin(key, NOW, 100)
        tally.done(key, True)
    theirs.note(PREFETCHED_FILE, NOW + 1)
    tally.sweep(NOW + 2, mine.requested)
    assert tally.stats == PrefetchStats(fetched=2, hits=1, hit_bytes=100)
    assert tally.ahead == 100
    tally.sweep(NOW + 601, mine.requested)
    assert tally.stats == PrefetchStats(
        fetched=2, hits=1, hit_bytes=100, wasted=1, wasted_bytes=100
    )
