"""Which event counts as what."""

from __future__ import annotations

import pytest

from proxy.events import (
    AnswerServed,
    ChangeOutcome,
    Event,
    Evicted,
    FileAnswered,
    FileChanged,
    Outcome,
    Prefetched,
    PrefetchResult,
    RequestKind,
    UpstreamAsked,
)
from proxy.model import ProjectName
from proxy.runtime.shared_memory import SharedCounters
from proxy.web.metrics import COUNTER_COLUMNS, FAMILIES, Counters

DEMO = ProjectName("demo")

Counted = dict[tuple[str, ...], int]


def served(
    kind: RequestKind, outcome: Outcome | None, status: int, sent: int, times: int = 1
) -> AnswerServed:
    """``times``: requests that were alike."""
    return AnswerServed(
        client="10.0.0.1",
        method="GET",
        path="/",
        kind=kind,
        status=status,
        outcome=outcome,
        sent=sent,
        timings=((1_790_000_000.0, 0.5),) * times,
    )


def counted(*events: Event) -> Counted:
    """All that is not zero after these, by name and values of labels."""
    counters = Counters(SharedCounters.single_process().slice(0, COUNTER_COLUMNS))
    for event in events:
        counters.observe(event)
    return {
        (family.name.removeprefix("waystation_").removesuffix("_total"), *labels.values()): value
        for family in FAMILIES
        for labels, value in counters.series(family)
        if value
    }


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (
            [
                served(RequestKind.PAGE, Outcome.MISS, 200, 10),
                served(RequestKind.PAGE, Outcome.MISS, 200, 5),
            ],
            {("requests", "page", "miss", "200"): 2, ("sent_bytes", "page"): 15},
        ),
        (
            [served(RequestKind.FILE, Outcome.HIT, 206, 25, times=4)],
            {("requests", "file", "hit", "206"): 4, ("sent_bytes", "file"): 100},
        ),
        (
            [served(RequestKind.OTHER, None, 418, 0)],
            {("requests", "other", "none", "other"): 1},
        ),
        (
            [UpstreamAsked(failed=False), UpstreamAsked(failed=True), UpstreamAsked(failed=False)],
            {("upstream_requests", "answered"): 2, ("upstream_requests", "failed"): 1},
        ),
        (
            [FileChanged(DEMO, "demo-1.0.tar.gz", "pypi", "a", "b", ChangeOutcome.REFUSED)],
            {("changed_files", "refused"): 1},
        ),
        (
            [
                Prefetched(PrefetchResult.FETCHED, 7),
                Prefetched(PrefetchResult.USED, 7),
                Prefetched(PrefetchResult.WASTED, 0),
            ],
            {
                ("speculation", "fetched"): 1,
                ("speculation", "used"): 1,
                ("speculation", "wasted"): 1,
                ("speculation_bytes", "fetched"): 7,
                ("speculation_bytes", "used"): 7,
            },
        ),
        ([Evicted(2, 30)], {("evicted_files",): 2, ("evicted_bytes",): 30}),
        ([FileAnswered(DEMO, "demo-1.0.tar.gz", "pypi", Outcome.HIT)], {}),
    ],
)
def test_an_event_counts(events: list[Event], expected: Counted) -> None:
    assert counted(*events) == expected


@pytest.mark.parametrize("kind", RequestKind)
@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_every_kind_and_outcome_has_a_place(kind: RequestKind, outcome: Outcome | None) -> None:
    labels = ("requests", kind.value, outcome.value if outcome else "none", "304")
    assert counted(served(kind, outcome, 304, 0)) == {labels: 1}
