"""Hits, waste and what is there unasked, in whichever order things happen."""

from __future__ import annotations

from proxy.events import Event, Prefetched, PrefetchResult
from proxy.prefetch.fetcher import WASTED_AFTER, PrefetchStats, PrefetchTally

KEY = ("main", "demo", "demo-1.0-py3-none-any.whl")


def test_what_was_fetched_and_then_asked_for_is_a_hit() -> None:
    tally = PrefetchTally()
    assert tally.begin(KEY, 0.0, 100)
    tally.done(KEY, True)
    assert tally.ahead == 100
    assert tally.requested(KEY)
    assert tally.stats == PrefetchStats(fetched=1, hits=1, hit_bytes=100)
    assert tally.ahead == 0


def test_what_was_asked_for_while_it_came_is_a_hit_once_it_has_come() -> None:
    tally = PrefetchTally()
    tally.begin(KEY, 0.0, 100)
    assert tally.requested(KEY)
    assert tally.ahead == 0
    assert tally.stats == PrefetchStats()
    tally.done(KEY, True, 120)
    assert tally.stats == PrefetchStats(fetched=1, hits=1, hit_bytes=120)
    assert tally.ahead == 0


def test_what_somebody_else_fetched_is_no_hit() -> None:
    tally = PrefetchTally()
    tally.begin(KEY, 0.0, 100)
    tally.requested(KEY)
    tally.done(KEY, False)
    assert not tally.requested(KEY)
    assert (tally.stats, tally.ahead) == (PrefetchStats(), 0)


def test_what_was_never_asked_for_is_waste_after_a_while() -> None:
    tally = PrefetchTally()
    tally.begin(KEY, 0.0)
    tally.done(KEY, True, 100)
    tally.sweep(WASTED_AFTER)
    assert tally.stats == PrefetchStats(fetched=1)
    tally.sweep(WASTED_AFTER + 1)
    assert tally.stats == PrefetchStats(fetched=1, wasted=1, wasted_bytes=100)
    assert tally.ahead == 0
    assert not tally.requested(KEY)


def test_what_still_comes_is_not_given_up() -> None:
    tally = PrefetchTally()
    tally.begin(KEY, 0.0, 100)
    tally.sweep(WASTED_AFTER + 1)
    assert tally.ahead == 100
    tally.done(KEY, True)
    tally.sweep(WASTED_AFTER + 1)
    assert tally.stats == PrefetchStats(fetched=1, wasted=1, wasted_bytes=100)


def test_a_thing_is_fetched_ahead_once_at_a_time() -> None:
    tally = PrefetchTally()
    assert tally.begin(KEY, 0.0)
    assert not tally.begin(KEY, 0.0)
    tally.done(KEY, True, 1)
    assert not tally.begin(KEY, 0.0)
    tally.requested(KEY)
    assert tally.begin(KEY, 0.0)


def test_counts_are_reported_in_words() -> None:
    assert str(PrefetchStats(5, 3, 30, 2, 20)) == (
        "5 prefetched, 3 of them used (30 bytes), 2 wasted (20 bytes)"
    )


def test_each_fate_is_announced_with_its_size() -> None:
    heard: list[Event] = []
    tally = PrefetchTally(heard.append)
    for key in (KEY, ("main", "other", "")):
        tally.begin(key, 0.0)
        tally.done(key, True, 100 if key == KEY else None)
    tally.requested(KEY)
    tally.sweep(WASTED_AFTER + 1)
    assert heard == [
        Prefetched(PrefetchResult.FETCHED, 100),
        Prefetched(PrefetchResult.FETCHED, 0),
        Prefetched(PrefetchResult.USED, 100),
        Prefetched(PrefetchResult.WASTED, 0),
    ]
