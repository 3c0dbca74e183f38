"""``/metrics``: what all processes of a server have counted, in the text format of Prometheus.

The numbers are columns of shared memory, so that a count costs one addition; prometheus_client
only writes the text.
"""

from __future__ import annotations

import asyncio
import importlib
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from itertools import accumulate, product
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from proxy import __version__
from proxy.events import (
    AdvisoriesChecked,
    AnswerServed,
    ChangeOutcome,
    CheckResult,
    Event,
    Evicted,
    FileChanged,
    FileRefused,
    Outcome,
    Prefetched,
    PrefetchResult,
    RequestKind,
    UpstreamAsked,
)
from proxy.runtime import SharedCounters, in_thread

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METRICS_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
LAG_INTERVAL = 0.5
"""Seconds between two measurements of the event loop's lag."""

NO_LABEL = "none"
"""The outcome of requests that are about no page or file, or did not get one."""
OTHER_LABEL = "other"
"""Statuses that are not expected."""
COUNTED_STATUSES = (
    *("200", "206", "301", "304", "400", "401", "403", "404", "405", "406", "412", "416"),
    *("429", "499"),
    *("500", "502", "503", "504", OTHER_LABEL),
)


class Family(NamedTuple):
    """Counters of one name, with labels."""

    name: str
    """Ends in the unit and ``total``, as is the custom of Prometheus."""
    about: str
    labels: Mapping[str, Sequence[str]]
    """By name: all values."""


REQUEST_COUNTS = Family(
    "waystation_requests_total",
    "Requests of clients, by what was asked for, where the answer came from, and its status"
    " (499: the client left before there was one).",
    {"kind": tuple(RequestKind), "outcome": (*Outcome, NO_LABEL), "status": COUNTED_STATUSES},
)
BYTES_SENT = Family(
    "waystation_sent_bytes_total", "Bytes of bodies sent to clients.", {"kind": tuple(RequestKind)}
)
UPSTREAM_REQUESTS = Family(
    "waystation_upstream_requests_total",
    "Requests to upstream, without retries; failed: no usable answer.",
    {"result": ("answered", "failed")},
)
CHANGED_FILES = Family(
    "waystation_changed_files_total",
    "Files under whose name upstream lists other bytes than before, as each process saw them.",
    {"outcome": tuple(ChangeOutcome)},
)
PREFETCHED_THINGS = Family(
    "waystation_speculation_total",
    "Pages and files that were prefetched, those then used, and those not used within ten minutes.",
    {"fate": tuple(PrefetchResult)},
)
PREFETCHED_BYTES = Family(
    "waystation_speculation_bytes_total", "Bytes of such files.", {"fate": tuple(PrefetchResult)}
)
EVICTED_FILES = Family(
    "waystation_evicted_files_total", "Files deleted from the cache for space.", {}
)
EVICTED_BYTES = Family("waystation_evicted_bytes_total", "Bytes of such files.", {})
ADVISORY_CHECKS = Family(
    "waystation_advisory_checks_total",
    "Checks of the source of advisories, by what came of them.",
    {"result": tuple(CheckResult)},
)
FAMILIES = (
    *(REQUEST_COUNTS, BYTES_SENT, UPSTREAM_REQUESTS, CHANGED_FILES),
    *(PREFETCHED_THINGS, PREFETCHED_BYTES, EVICTED_FILES, EVICTED_BYTES),
    ADVISORY_CHECKS,
)


class Histogram(NamedTuple):
    """Times in seconds, counted in buckets, for each value of at most one label."""

    name: str
    about: str
    bounds: Sequence[float]
    """The largest time of each bucket but the last."""
    label: str = ""
    values: Sequence[str] = ("",)

    @property
    def width(self) -> int:
        """Columns for each value: the buckets, and the sum in microseconds."""
        return len(self.bounds) + 2


ANSWER_TIMES = Histogram(
    "waystation_answer_seconds",
    "Time from a request to the end of its answer, by what was asked for.",
    (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 120.0),
    "kind",
    tuple(RequestKind),
)
LOOP_LAG = Histogram(
    "waystation_event_loop_lag_seconds",
    "How much later than due the event loop of a process ran, measured twice a second.",
    (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0),
)
HISTOGRAMS = (ANSWER_TIMES, LOOP_LAG)

_SERIES = [(each.name, *values) for each in FAMILIES for values in product(*each.labels.values())]
_COLUMNS = {series: column for column, series in enumerate(_SERIES)}
_STARTS = dict(
    zip(
        [(each.name, value) for each in HISTOGRAMS for value in each.values],
        accumulate((each.width for each in HISTOGRAMS for _ in each.values), initial=len(_SERIES)),
        strict=False,  # the last number is the end
    )
)
"""The first column of each histogram and value."""
REFUSAL_COLUMNS = 512
"""Counters of refusals: one for each index and rule."""
_FIRST_REFUSAL = len(_SERIES) + sum(each.width * len(each.values) for each in HISTOGRAMS)
COUNTER_COLUMNS = _FIRST_REFUSAL + REFUSAL_COLUMNS
"""Columns of shared memory that ``Counters`` needs."""


REFUSALS = "waystation_refused_total"
_ABOUT_REFUSALS = (
    "Requests that policies refused, by index, rule, mode and kind of policy; observe: files that"
    " passed, once an hour for each client."
)
REFUSAL_LABELS = ("index", "rule", "mode", "kind")
OTHER_REFUSALS = [(OTHER_LABEL, OTHER_LABEL, mode, OTHER_LABEL) for mode in ("enforce", "observe")]
"""Refusals of rules that came with a reload, and of those beyond ``REFUSAL_COLUMNS``."""


class Counters:
    """An observer that counts in the row of this process, and adds up the rows of all."""

    def __init__(
        self, shared: SharedCounters, refusals: Sequence[tuple[str, str, str, str]] = ()
    ) -> None:
        """``shared``: ``COUNTER_COLUMNS`` columns. ``refusals``: the values of ``REFUSAL_LABELS``
        that are to be expected."""
        self._shared = shared
        series = [*OTHER_REFUSALS, *refusals][:REFUSAL_COLUMNS]
        self._refusals = {labels: _FIRST_REFUSAL + at for at, labels in enumerate(series)}

    def observe(self, event: Event) -> None:
        match event:
            case AnswerServed():
                self._served(event)
            case UpstreamAsked():
                self._add(1, UPSTREAM_REQUESTS, "failed" if event.failed else "answered")
            case FileChanged():
                self._add(1, CHANGED_FILES, event.outcome)
            case Prefetched():
                self._add(1, PREFETCHED_THINGS, event.result)
                self._add(event.size, PREFETCHED_BYTES, event.result)
            case AdvisoriesChecked():
                self._add(1, ADVISORY_CHECKS, event.result)
            case Evicted():
                self._add(event.files, EVICTED_FILES)
                self._add(event.size, EVICTED_BYTES)
            case FileRefused():
                labels = (event.index, event.rule, event.mode, event.kind)
                other = (OTHER_LABEL, OTHER_LABEL, event.mode, OTHER_LABEL)
                self._shared.own_row[self._refusals.get(labels) or self._refusals[other]] += 1

    def add_times(self, times: Sequence[float], histogram: Histogram, value: str = "") -> None:
        """``times``: in seconds."""
        start, bounds = _STARTS[histogram.name, value], histogram.bounds
        row = self._shared.own_row
        if max(times) <= bounds[0]:  # as answers of the fast path are
            row[start] += len(times)
        else:
            for seconds in times:
                row[start + bisect_left(bounds, seconds)] += 1
        row[start + len(bounds) + 1] += int(sum(times) * 1e6)

    def series(self, family: Family) -> Iterator[tuple[Mapping[str, str], int]]:
        """The labels of each counter of the family, and the sum over all processes."""
        sums = self._shared.sums()
        for values in product(*family.labels.values()):
            column = _COLUMNS[family.name, *values]
            yield dict(zip(family.labels, values, strict=True)), sums[column]

    def refusals(self) -> Iterator[tuple[tuple[str, str, str, str], int]]:
        """The labels of each counter of refusals, and the sum over all processes."""
        sums = self._shared.sums()
        return ((labels, sums[column]) for labels, column in self._refusals.items())

    def buckets(self, histogram: Histogram, value: str = "") -> tuple[list[int], float]:
        """How many times are at most each bound, and at all; and the sum of all in seconds."""
        start = _STARTS[histogram.name, value]
        *counts, microseconds = self._shared.sums()[start : start + histogram.width]
        return list(accumulate(counts)), microseconds / 1e6

    def _served(self, event: AnswerServed) -> None:
        row, requests = self._shared.own_row, len(event.timings)
        counted, sent = _answer_columns(event.kind, event.outcome, event.status)
        row[counted] += requests
        row[sent] += requests * event.sent
        times = [milliseconds / 1000 for _, milliseconds in event.timings]
        self.add_times(times, ANSWER_TIMES, event.kind)

    def _add(self, number: int, family: Family, *labels: str) -> None:
        self._shared.own_row[_COLUMNS[family.name, *labels]] += number


@lru_cache(maxsize=1024)
def _answer_columns(kind: RequestKind, outcome: Outcome | None, status: int) -> tuple[int, int]:
    """The columns of an answer: its count, and its bytes."""
    known = str(status) if str(status) in COUNTED_STATUSES else OTHER_LABEL
    counted = _COLUMNS[REQUEST_COUNTS.name, kind, outcome or NO_LABEL, known]
    return counted, _COLUMNS[BYTES_SENT.name, kind]


class Gauge(NamedTuple):
    """A value of now, as this process knows it."""

    name: str
    about: str
    value: float


class Metrics:
    """The page, and the measurement of the event loop while the application runs."""

    def __init__(
        self, counters: Counters, gauges: Callable[[], Iterable[Gauge]] = lambda: ()
    ) -> None:
        self._counters = counters
        self._gauges = gauges

    async def page(self, request: web.Request) -> web.Response:
        # The first import takes about 0.1 seconds, which no other answer has to wait for.
        await in_thread(importlib.import_module, "prometheus_client.core")
        from prometheus_client.exposition import generate_latest

        headers = _METRICS_HEADERS | {"Content-Type": CONTENT_TYPE}
        return web.Response(body=generate_latest(self), headers=headers)

    def collect(self) -> Iterator[Metric]:
        """A custom collector of prometheus_client."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        info = GaugeMetricFamily("waystation_info", "What is running.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        for gauge in self._gauges():
            yield GaugeMetricFamily(gauge.name, gauge.about, value=gauge.value)
        for family in FAMILIES:
            counters = CounterMetricFamily(family.name, family.about, labels=list(family.labels))
            for labels, count in self._counters.series(family):
                if count or family is not REQUEST_COUNTS:  # most of these never occur
                    counters.add_metric(list(labels.values()), count)
            yield counters
        refused = CounterMetricFamily(REFUSALS, _ABOUT_REFUSALS, labels=REFUSAL_LABELS)
        for values, count in self._counters.refusals():
            refused.add_metric(values, count)
        yield refused
        for each in HISTOGRAMS:
            names = [each.label] if each.label else []
            histogram = HistogramMetricFamily(each.name, each.about, labels=names)
            bounds = [*map(str, each.bounds), "+Inf"]
            for value in each.values:
                counts, total = self._counters.buckets(each, value)
                buckets = list(zip(bounds, map(float, counts), strict=True))
                histogram.add_metric([value] if names else [], buckets, total)
            yield histogram

    async def measure_loop(self, app: web.Application) -> AsyncIterator[None]:
        """A cleanup context of aiohttp."""
        task = asyncio.create_task(self._measure_loop())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _measure_loop(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            self._counters.add_times([max(0.0, loop.time() - due)], LOOP_LAG)
