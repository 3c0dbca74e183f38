"""``/metrics``: what all processes of a server have counted, in the text format of Prometheus.

The numbers are columns of shared memory; prometheus_client only writes the text.
"""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

from aiohttp import web

from proxy import __version__
from proxy.runtime import in_thread
from proxy.web.counters import Counters, ShownCounters
from proxy.web.metric_families import (
    COUNTERS,
    GAUGES,
    HISTOGRAMS,
    REFUSAL_LABELS,
    REFUSALS,
    REQUEST_COUNTS,
    UPSTREAM_TIMES,
)

if TYPE_CHECKING:
    from prometheus_client import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_METRICS_HEADERS = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"}
STARTED = time.time()
"""Of this process: a Unix time in seconds."""


class Gauge(NamedTuple):
    """A value of now, as this process knows it."""

    name: str
    about: str
    value: float
    labels: Mapping[str, str] = {}


class Metrics:
    """The page."""

    def __init__(
        self,
        counters: Counters,
        gauges: Callable[[], Iterable[Gauge]] = lambda: (),
        sample: Callable[[], None] = lambda: None,
    ) -> None:
        """``sample`` has this process write its values of now into the counters."""
        self._counters = counters
        self._gauges = gauges
        self._sample = sample

    async def page(self, request: web.Request) -> web.Response:
        # The first import takes about 0.1 seconds, which no other answer has to wait for.
        await in_thread(importlib.import_module, "prometheus_client.core")
        from prometheus_client.exposition import generate_latest

        self._sample()
        headers = _METRICS_HEADERS | {"Content-Type": CONTENT_TYPE}
        return web.Response(body=generate_latest(self), headers=headers)

    def collect(self) -> Iterator[Metric]:
        """A custom collector of prometheus_client."""
        from prometheus_client.core import GaugeMetricFamily

        shown = self._counters.shown()
        info = GaugeMetricFamily("waystation_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        about = "When the process that answers was started: a Unix time in seconds."
        yield GaugeMetricFamily("process_start_time_seconds", about, value=STARTED)
        families: dict[str, Metric] = {}
        for gauge in self._gauges():
            family = GaugeMetricFamily(gauge.name, gauge.about, labels=list(gauge.labels))
            found = families.setdefault(gauge.name, family)
            found.add_sample(gauge.name, dict(gauge.labels), gauge.value)
        yield from families.values()
        yield from _families(shown)
        yield from _histograms(shown)


def _families(shown: ShownCounters) -> Iterator[Metric]:
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

    for family in COUNTERS:
        counters = CounterMetricFamily(family.name, family.about, labels=list(family.labels))
        rare = family is REQUEST_COUNTS  # most of these never occur
        for labels, count in shown.nonzero(family) if rare else shown.series(family):
            counters.add_metric(labels, count)
        yield counters
    for family in GAUGES:
        gauges = GaugeMetricFamily(family.name, family.about, labels=list(family.labels))
        for labels, value in shown.series(family):
            gauges.add_metric(labels, value)
        yield gauges
    refused = CounterMetricFamily(REFUSALS.name, REFUSALS.about, labels=REFUSAL_LABELS)
    for values, count in shown.refusals():
        refused.add_metric(values, count)
    yield refused


def _histograms(shown: ShownCounters) -> Iterator[Metric]:
    from prometheus_client.core import HistogramMetricFamily

    for each in HISTOGRAMS:
        histogram = HistogramMetricFamily(each.name, each.about, labels=list(each.labels))
        bounds = [*map(str, each.bounds), "+Inf"]
        for labels, counts, total in shown.buckets(each):
            if counts[-1] or each is not UPSTREAM_TIMES:
                buckets = list(zip(bounds, map(float, counts), strict=True))
                histogram.add_metric(labels, buckets, total)
        yield histogram
