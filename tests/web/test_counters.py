"""Which event counts as what."""

from __future__ import annotations

import msgspec
import pytest

from proxy.events import (
    AnswerServed,
    AskResult,
    AuditLost,
    ChangeOutcome,
    ClientLimited,
    CredentialsChecked,
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
from proxy.web.counters import Counters, MetricLabels
from proxy.web.metric_families import COUNTER_COLUMNS, COUNTERS, UPSTREAM_REQUESTS, UPSTREAM_TIMES

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
        index="main",
        status=status,
        outcome=outcome,
        sent=sent,
        timings=((1_790_000_000.0, 0.5),) * times,
    )


def counted(*events: Event) -> Counted:
    """All that is not zero after these, by name and values of labels."""
    counters = Counters(
        SharedCounters.single_process().slice(0, COUNTER_COLUMNS), MetricLabels(("main", "pypi"))
    )
    for event in events:
        counters.observe(event)
    return {
        (family.name.removeprefix("waystation_").removesuffix("_total"), *labels): int(value)
        for family in COUNTERS
        for labels, value in counters.shown().series(family)
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
            {("requests", "main", "page", "miss", "200"): 2, ("sent_bytes", "page"): 15},
        ),
        (
            [served(RequestKind.FILE, Outcome.HIT, 206, 25, times=4)],
            {
                ("requests", "main", "file", "hit", "206"): 4,
                ("sent_bytes", "file"): 100,
                ("saved_bytes", "file"): 100,
            },
        ),
        (
            [served(RequestKind.OTHER, None, 418, 0)],
            {("requests", "main", "other", "none", "other"): 1},
        ),
        (
            [
                UpstreamAsked("pypi", "page", AskResult.ANSWERED, 0.1),
                UpstreamAsked("pypi", "file", AskResult.ANSWERED, 0.1),
                UpstreamAsked("pypi", "file", AskResult.TIMEOUT, 0.1),
                UpstreamAsked("of a reload", "page", AskResult.REFUSED, 0.1),
            ],
            {
                ("upstream_requests", "pypi", "answered"): 2,
                ("upstream_requests", "pypi", "timeout"): 1,
                ("upstream_requests", "other", "refused"): 1,
            },
        ),
        (
            [
                CredentialsChecked("token", "ok"),
                CredentialsChecked("", "wrong"),
                CredentialsChecked("of a later version", "ok"),
            ],
            {
                ("auth", "token", "ok"): 1,
                ("auth", "none", "wrong"): 1,
                ("auth", "other", "ok"): 1,
            },
        ),
        ([ClientLimited("misses")], {("limited", "misses"): 1}),
        ([AuditLost("lines", 5)], {("audit_lost", "lines"): 5}),
        (
            [msgspec.structs.replace(served(RequestKind.OTHER, None, 200, 0), index="")],
            {("requests", "none", "other", "none", "200"): 1},
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
    labels = ("requests", "main", kind.value, outcome.value if outcome else "none", "304")
    assert counted(served(kind, outcome, 304, 0)) == {labels: 1}


def test_what_upstreams_take_is_counted_by_index() -> None:
    counters = Counters(
        SharedCounters.single_process().slice(0, COUNTER_COLUMNS), MetricLabels(("main", "pypi"))
    )
    counters.observe(UpstreamAsked("pypi", "page", AskResult.ANSWERED, 0.2))
    found = [
        (labels, counts[-1], total)
        for labels, counts, total in counters.shown().buckets(UPSTREAM_TIMES)
        if counts[-1]
    ]
    assert found == [(["pypi", "page"], 1, 0.2)]


def test_more_indexes_than_there_are_places_are_counted_together() -> None:
    names = tuple(f"index-{number}" for number in range(100))
    counters = Counters(
        SharedCounters.single_process().slice(0, COUNTER_COLUMNS), MetricLabels(names)
    )
    for name in names:
        counters.observe(UpstreamAsked(name, "page", AskResult.ANSWERED, 0.2))
    found = {
        labels[0]: value for labels, value in counters.shown().series(UPSTREAM_REQUESTS) if value
    }
    assert found == {"other": 86, **{f"index-{number}": 1 for number in range(14)}}
