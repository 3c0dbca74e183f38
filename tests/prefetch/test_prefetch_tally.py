"""Hits, waste and what is there unasked, in whichever order things happen."""

from __future__ import annotations

from proxy.events import Event, Prefetched, PrefetchResult
from proxy.prefetch.fetcher import WASTED_AFTER, PrefetchStats, PrefetchTally

PREFETCHED_FILE = ("main", "demo", "demo-1.0-py3-none-any.whl")


def test_what_was_fetched_and_then_asked_for_is_a_hit() -> None:
    tally = PrefetchTally()
    assert tally.begin(PREFETCHED_FILE, 0.0, 100)
    tally.done(PREFETCHED_FILE, True)
    assert tally.ahead == 100
    assert tally.requested(PREFETCHED_FILE)
    assert tally.stats == PrefetchStats(fetched=1, hits=1, hit_bytes=100)
    assert tally.ahead == 0


def test_what_was_asked_for_while_it_came_is_a_hit_once_it_has_come() -> None:
    tally = PrefetchTally()
    tally.begin(PREFETCHED_FILE, 0.0, 100)
    assert tally.requested(PREFETCHED_FILE)
    assert tally.ahead == 0
    assert tally.stats == PrefetchStats()
    tally.done(PREFETCHED_FILE, True, 120)
    assert tally.stats == PrefetchStats(fetched=1, hits=1, hit_bytes=120)
    assert tally.ahead == 0


def test_what_somebody_else_fetched_is_no_hit() -> None:
    tally = PrefetchTally()
    tally.begin(PREFETCHED_FILE, 0.0, 100)
    tally.requested(PREFETCHED_FILE)
    tally.done(PREFETCHED_FILE, False)
    assert not tally.requested(PREFETCHED_FILE)
    assert (tally.stats, tally.ahead) == (PrefetchStats(), 0)


def test_what_was_never_asked_for_is_waste_after_a_while() -> None:
    tally = PrefetchTally()
    tally.begin(PREFETCHED_FILE, 0.0)
    tally.done(PREFETCHED_FILE, True, 100)
    tally.sweep(WASTED_AFTER)
    assert tally.stats == PrefetchStats(fetched=1)
    tally.sweep(WASTED_AFTER + 1)
    assert tally.stats == PrefetchStats(fetched=1, wasted=1, wasted_bytes=100)
    assert tally.ahead == 0
    assert not tally.requested(PREFETCHED_FILE)


def test_what_still_comes_is_not_given_up() -> None:
    tally = PrefetchTally()
    tally.begin(PREFETCHED_FILE, 0.0, 100)
    tally.sweep(WASTED_AFTER + 1)
    assert tally.ahead == 100
    tally.done(PREFETCHED_FILE, True)
    tally.sweep(WASTED_AFTER + 1)
    assert tally.stats == PrefetchStats(fetched=1, wasted=1, wasted_bytes=100)


def test_a_thing_is_fetched_ahead_once_at_a_time() -> None:
    tally = PrefetchTally()
    assert tally.begin(PREFETCHED_FILE, 0.0)
    assert not tally.begin(PREFETCHED_FILE, 0.0)
    tally.done(PREFETCHED_FILE, True, 1)
    assert not tally.begin(PREFETCHED_FILE, 0.0)
    tally.requested(PREFETCHED_FILE)
    assert tally.begin(PREFETCHED_FILE, 0.0)


def test_counts_are_reported_in_words() -> None:
    assert str(PrefetchStats(5, 3, 30, 2, 20)) == (
        "5 prefetched, 3 of them used (30 bytes), 2 wasted (20 bytes)"
    )


def test_each_fate_is_announced_with_its_size() -> None:
    heard: list[Event] = []
    tally = PrefetchTally(heard.append)
    for key in (PREFETCHED_FILE, ("main", "other", "")):
        tally.begin(key, 0.0)
        tally.done(key, True, 100 if key == PREFETCHED_FILE else None)
    tally.requested(PREFETCHED_FILE)
    tally.sweep(WASTED_AFTER + 1)
    assert heard == [
        Prefetched(PrefetchResult.FETCHED, 100),
        Prefetched(PrefetchResult.FETCHED, 0),
        Prefetched(PrefetchResult.USED, 100),
        Prefetched(PrefetchResult.WASTED, 0),
    ]
