"""Which event counts as what."""

from __future__ import annotations

import pytest

from proxy.events import (
    Answered,
    ChangeOutcome,
    Event,
    Evicted,
    Fate,
    FileAnswered,
    FileChanged,
    Guessed,
    Kind,
    Outcome,
    UpstreamAsked,
)
from proxy.model import ProjectName
from proxy.runtime.shared_memory import SharedCounters
from proxy.web.metrics import COUNTER_COLUMNS, FAMILIES, Counters

DEMO = ProjectName("demo")

Counted = dict[tuple[str, ...], int]


def counted(*events: Event) -> Counted:
    """All that is not zero after these, by name and values of labels."""
    counters = Counters(SharedCounters.alone().columns(0, COUNTER_COLUMNS))
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
            [Answered(Kind.PAGE, Outcome.MISS, 200, 10), Answered(Kind.PAGE, Outcome.MISS, 200, 5)],
            {("requests", "page", "miss", "200"): 2, ("sent_bytes", "page"): 15},
        ),
        (
            [Answered(Kind.FILE, Outcome.HIT, 206, 100, times=4)],
            {("requests", "file", "hit", "206"): 4, ("sent_bytes", "file"): 100},
        ),
        (
            [Answered(Kind.OTHER, None, 418, 0)],
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
            [Guessed(Fate.FETCHED, 7), Guessed(Fate.USED, 7), Guessed(Fate.WASTED, 0)],
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


@pytest.mark.parametrize("kind", Kind)
@pytest.mark.parametrize("outcome", [*Outcome, None])
def test_every_kind_and_outcome_has_a_place(kind: Kind, outcome: Outcome | None) -> None:
    told = ("requests", kind.value, outcome.value if outcome else "none", "304")
    assert counted(Answered(kind, outcome, 304, 0)) == {told: 1}
