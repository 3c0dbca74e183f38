"""What a server observes of itself, and limits: counters, gauges, observers, limits of clients."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from proxy.access import FrontProxies
from proxy.cli.workers import shared_counters
from proxy.composition import Proxy, possible_refusals, resolve_tree
from proxy.config import Settings
from proxy.events import (
    AdvisoriesChecked,
    AnswerServed,
    AuditLost,
    ClientLimited,
    CredentialsChecked,
    Events,
    Evicted,
    FileChanged,
    FileRefused,
    Prefetched,
    UpstreamAsked,
)
from proxy.prefetch import MARK_COLUMNS, WorkerMarks
from proxy.web import (
    COUNTER_COLUMNS,
    AccessLog,
    ClientLimits,
    Counters,
    Gauge,
    Limit,
    MetricLabels,
    Sources,
    log_observed_refusals,
)

LABELS_VARIABLE = "_WAYSTATION_LABELS"
"""Set in the environment of a worker: the ``MetricLabels`` of its supervisor."""


class Observing:
    """The counters of this process, its access log, and the marks of its prefetching."""

    def __init__(self, settings: Settings, handler: logging.StreamHandler[Any]) -> None:
        shared = shared_counters()
        self.marks = WorkerMarks(shared.slice(0, MARK_COLUMNS))
        self.counters = Counters(
            shared.slice(MARK_COLUMNS, MARK_COLUMNS + COUNTER_COLUMNS), _labels(settings)
        )
        self.events = Events()
        self.access_log = AccessLog(handler)
        self.events.subscribe(self.access_log.observe, AnswerServed)
        self.events.subscribe(
            self.counters.observe,
            *(AnswerServed, UpstreamAsked, FileChanged, Prefetched, Evicted, AdvisoriesChecked),
            *(FileRefused, AuditLost, CredentialsChecked, ClientLimited),
        )
        self.events.subscribe(log_observed_refusals, FileRefused)


def variables_of_workers(settings: Settings) -> dict[str, str]:
    """The labels of all workers, for their environment.

    A worker that starts after a reload has other settings, but has to count in the same columns.
    """
    return {LABELS_VARIABLE: msgspec.json.encode(_labels(settings)).decode()}


def _labels(settings: Settings) -> MetricLabels:
    if text := os.environ.get(LABELS_VARIABLE):
        return msgspec.json.decode(text, type=MetricLabels)
    tree = resolve_tree(settings)
    names = (*tree.named, *(leaf.name for leaf in tree.leaves))
    return MetricLabels(tuple(dict.fromkeys(names)), tuple(possible_refusals(settings)))


def sources(proxy: Proxy, connections: Callable[[], int]) -> Sources:
    """Values of now that are summed over all processes."""
    traffic = proxy.traffic

    def breakers() -> Iterable[tuple[str, bool]]:
        return ((each.index, each.is_open) for each in traffic.breakers)

    return Sources(
        connections=connections,
        upstream=lambda what: traffic.running[what],
        breakers=breakers,
    )


def gauges(proxy: Proxy, reload_failed: bool) -> Iterator[Gauge]:
    """Values of now that are the same in all processes."""
    about = "1: the last reload of the settings was refused."
    yield Gauge("waystation_reload_failed", about, float(reload_failed))
    evictor = proxy.cache.evictor
    yield Gauge("waystation_cache_bytes", "Bytes of the files in the cache.", evictor.total)
    limit = float(evictor.max_size or 0)
    yield Gauge("waystation_cache_max_bytes", "The limit of them; 0: none.", limit)
    if advisories := proxy.advisories:
        about = "Seconds since the last check of the source of advisories that succeeded."
        yield Gauge("waystation_advisories_age_seconds", about, advisories.age)
        records = float(advisories.records)
        yield Gauge("waystation_advisories_records", "Advisories that are in force.", records)


def limits(settings: Settings, events: Events) -> ClientLimits | None:
    """The limits of clients. Proxies in front are exempt: they pass on what others request."""
    table = settings.limits
    if table is None:
        return None
    front = settings.access.proxy.from_ if settings.access and settings.access.proxy else []
    return ClientLimits(
        Limit(table.misses_per_minute, table.concurrent_misses),
        Limit(table.uploads_per_minute, table.concurrent_uploads),
        exempt=FrontProxies([*table.exempt, *front]).trusts,
        events=events,
    )
