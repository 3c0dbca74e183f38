"""Counters: an observer that counts in shared memory, so that a count costs one addition.

Each process writes a row of its own; ``/metrics`` adds up the rows of all.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import accumulate, islice

import msgspec

from proxy.events import (
    AdvisoriesChecked,
    AnswerServed,
    AuditLost,
    ClientLimited,
    CredentialsChecked,
    Event,
    Evicted,
    FileChanged,
    FileRefused,
    Outcome,
    PeerAsked,
    Prefetched,
    RequestKind,
    StoreFailed,
    UpstreamAsked,
)
from proxy.runtime import SharedCounters
from proxy.web.metric_families import (
    ADVISORY_CHECKS,
    ANSWER_TIMES,
    AUDIT_LOST,
    BYTES_SAVED,
    BYTES_SENT,
    CHANGED_FILES,
    COLUMNS,
    COUNTED_STATUSES,
    CREDENTIAL_METHODS,
    CREDENTIALS,
    EVICTED_BYTES,
    EVICTED_FILES,
    FAST,
    FIRST_REFUSAL,
    GAUGES,
    LIMITED,
    NO_LABEL,
    OTHER_LABEL,
    PEER_BYTES,
    PEER_FILES,
    PLACES,
    PREFETCHED_BYTES,
    PREFETCHED_THINGS,
    REFUSAL_COLUMNS,
    REQUEST_COUNTS,
    STORE_FAILURES,
    UPSTREAM_REQUESTS,
    UPSTREAM_TIMES,
    Family,
    Histogram,
)

SAVED = frozenset((Outcome.HIT, Outcome.REVALIDATED, Outcome.STALE, Outcome.JOINED, Outcome.PEER))
"""Outcomes of bytes that upstream did not send for this request."""
OTHER_REFUSALS = [(OTHER_LABEL, OTHER_LABEL, mode, OTHER_LABEL) for mode in ("enforce", "observe")]
"""Refusals of rules that came with a reload, and of those beyond ``REFUSAL_COLUMNS``."""


class MetricLabels(msgspec.Struct, frozen=True):
    """The values of labels that the settings name; the same in all processes of a server."""

    indexes: tuple[str, ...] = ()
    """Of indexes and mirrors."""
    refusals: tuple[tuple[str, str, str, str], ...] = ()
    """The values of ``REFUSAL_LABELS`` that are to be expected."""


class Counters:
    """Counts in the row of this process, and adds up the rows of all."""

    def __init__(self, shared: SharedCounters, labels: MetricLabels | None = None) -> None:
        """``shared``: ``COUNTER_COLUMNS`` columns."""
        labels = labels or MetricLabels()
        self._shared = shared
        series = [*OTHER_REFUSALS, *labels.refusals][:REFUSAL_COLUMNS]
        self._refusals = {values: FIRST_REFUSAL + at for at, values in enumerate(series)}
        self._places = dict(zip(("", "-", *labels.indexes), PLACES, strict=False))
        self._names = {place: name for name, place in self._places.items() if name not in ("", "-")}
        for family in GAUGES:  # those of a process that has ended are no longer true
            for values in family.series:
                self._shared.own_row[COLUMNS[family.name, *values]] = 0

    def observe(self, event: Event) -> None:
        match event:
            case AnswerServed():
                self._served(event)
            case UpstreamAsked():
                self._asked(event)
            case Prefetched():
                self.add(1, PREFETCHED_THINGS, event.result)
                self.add(event.size, PREFETCHED_BYTES, event.result)
            case FileRefused():
                labels = (event.index, event.rule, event.mode, event.kind)
                other = (OTHER_LABEL, OTHER_LABEL, event.mode, OTHER_LABEL)
                self._shared.own_row[self._refusals.get(labels) or self._refusals[other]] += 1
            case CredentialsChecked():
                method = event.method or NO_LABEL
                known = method if method in CREDENTIAL_METHODS else OTHER_LABEL
                self.add(1, CREDENTIALS, known, event.result)
            case _:
                self._observe_rare(event)

    def _observe_rare(self, event: Event) -> None:
        match event:
            case PeerAsked():
                self.add(1, PEER_FILES, event.result)
                self.add(event.size, PEER_BYTES)
            case FileChanged():
                self.add(1, CHANGED_FILES, event.outcome)
            case AdvisoriesChecked():
                self.add(1, ADVISORY_CHECKS, event.result)
            case Evicted():
                self.add(event.files, EVICTED_FILES)
                self.add(event.size, EVICTED_BYTES)
            case StoreFailed():
                self.add(1, STORE_FAILURES, event.store, event.what)
            case ClientLimited():
                self.add(1, LIMITED, event.work)
            case AuditLost():
                self.add(event.answers, AUDIT_LOST, event.journal)

    def add(self, number: int, family: Family, *values: str) -> None:
        """Count."""
        self._shared.own_row[COLUMNS[family.name, *values]] += number

    def set(self, number: int, family: Family, *values: str) -> None:
        """The value of a gauge in this process; at most 0 counts as 0."""
        self._shared.own_row[COLUMNS[family.name, *values]] = max(0, number)

    def add_times(self, times: Sequence[float], histogram: Histogram, *values: str) -> None:
        """``times``: in seconds."""
        start, bounds = COLUMNS[histogram.name, *values], histogram.bounds
        row = self._shared.own_row
        if max(times) <= bounds[0]:  # as answers of the fast path are
            row[start] += len(times)
        else:
            for seconds in times:
                row[start + bisect_left(bounds, seconds)] += 1
        row[start + len(bounds) + 1] += int(sum(times) * 1e6)

    def place(self, index: str) -> str:
        """The label value of an index, in columns."""
        return self._places.get(index, OTHER_LABEL)

    def shown(self) -> ShownCounters:
        """The sums over all processes."""
        return ShownCounters(self._shared, self._names, self._refusals)

    def _served(self, event: AnswerServed) -> None:
        row, requests = self._shared.own_row, len(event.timings)
        counted, sent, saved = _answer_columns(
            self.place(event.index), event.kind, event.outcome, event.status
        )
        row[counted] += requests
        row[sent] += requests * event.sent
        if saved:
            row[saved] += requests * event.sent
        times = [milliseconds / 1000 for _, milliseconds in event.timings]
        self.add_times(times, ANSWER_TIMES, event.kind, FAST[event.cached])

    def _asked(self, event: UpstreamAsked) -> None:
        place = self.place(event.index)
        self.add(1, UPSTREAM_REQUESTS, place, event.result)
        self.add_times([event.seconds], UPSTREAM_TIMES, place, event.what)


@lru_cache(maxsize=1024)
def _answer_columns(
    place: str, kind: RequestKind, outcome: Outcome | None, status: int
) -> tuple[int, int, int]:
    """The columns of an answer: its count, its bytes, and the saved ones; 0 where none are."""
    known = str(status) if str(status) in COUNTED_STATUSES else OTHER_LABEL
    counted = COLUMNS[REQUEST_COUNTS.name, place, kind, outcome or NO_LABEL, known]
    saved = COLUMNS[BYTES_SAVED.name, kind] if outcome in SAVED else 0
    return counted, COLUMNS[BYTES_SENT.name, kind], saved


class ShownCounters:
    """The columns of all processes, as they were at one moment."""

    def __init__(
        self,
        shared: SharedCounters,
        names: dict[str, str],
        refusals: dict[tuple[str, str, str, str], int],
    ) -> None:
        """``names``: of indexes, by their places."""
        self._sums = shared.sums()
        self._rows = (shared.own_row, *shared.other_rows)
        self._names = names
        self._refusals = refusals

    def series(self, family: Family) -> Iterator[tuple[list[str], float]]:
        """The label values of each counter or gauge of the family, and its value."""
        for column, values in enumerate(family.series, COLUMNS[family.name, *next(family.series)]):
            if (labels := self._labels(family, values)) is not None:
                found = max(row[column] for row in self._rows)
                number = found if family.kind == "max" else self._sums[column]
                yield labels, number * family.factor

    def counted(self, family: Family) -> Iterator[tuple[tuple[str, ...], int]]:
        """The label values of each counter that is not 0, places instead of names, and its value.

        Takes a small part of the time of ``series``: most counters are 0.
        """
        first = COLUMNS[family.name, *next(family.series)]
        series = zip(family.series, islice(self._sums, first, None), strict=False)
        return (each for each in series if each[1])

    def nonzero(self, family: Family) -> Iterator[tuple[list[str], float]]:
        """As ``series``, without the counters that are 0."""
        for values, count in self.counted(family):
            if (labels := self._labels(family, values)) is not None:
                yield labels, count * family.factor

    def refusals(self) -> Iterator[tuple[tuple[str, str, str, str], int]]:
        """The labels of each counter of refusals, and its value."""
        return ((labels, self._sums[column]) for labels, column in self._refusals.items())

    def buckets(self, histogram: Histogram) -> Iterator[tuple[list[str], list[int], float]]:
        """For each combination of labels: how many times are at most each bound, and at all; and
        the sum of all in seconds."""
        for values in histogram.series:
            if (labels := self._labels(histogram, values)) is not None:
                start = COLUMNS[histogram.name, *values]
                *counts, microseconds = self._sums[start : start + histogram.width]
                yield labels, list(accumulate(counts)), microseconds / 1e6

    def _labels(self, family: Family | Histogram, values: Sequence[str]) -> list[str] | None:
        """With the names of indexes instead of their places; None for a place without a name."""
        found = []
        for allowed, value in zip(family.labels.values(), values, strict=True):
            name = self._names.get(value, value) if allowed is PLACES else value
            if allowed is PLACES and value.isdigit() and value not in self._names:
                return None
            found.append(name)
        return found
