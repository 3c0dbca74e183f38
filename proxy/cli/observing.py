"""Counters, gauges, observers, checks, and the limits of clients of a server."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from proxy.access import FrontProxies
from proxy.cli.worker_process import shared_counters
from proxy.composition import Proxy, possible_refusals, resolve_tree
from proxy.config import Settings, audit_folder
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
    PeerAsked,
    Prefetched,
    StoreFailed,
    UpstreamAsked,
)
from proxy.prefetch import MARK_COLUMNS, WorkerMarks
from proxy.runtime import LineHandler, size_text
from proxy.web import (
    COUNTER_COLUMNS,
    AccessLog,
    Check,
    ClientLimits,
    Counters,
    Gauge,
    Limit,
    MetricLabels,
    Sources,
    log_observed_refusals,
)

if TYPE_CHECKING:
    from proxy.tracing import Tracing

LABELS_VARIABLE = "_WAYSTATION_LABELS"
"""Set in the environment of a worker: the ``MetricLabels`` of its supervisor."""

LITTLE_SPACE = 100 * 10**6
"""Bytes on the disk of the cache that are too few."""


class Observing:
    """The counters of this process, its access log, and the marks of its prefetching."""

    def __init__(self, settings: Settings, handler: LineHandler) -> None:
        shared = shared_counters()
        self.marks = WorkerMarks(shared.slice(0, MARK_COLUMNS))
        self.counters = Counters(
            shared.slice(MARK_COLUMNS, MARK_COLUMNS + COUNTER_COLUMNS), _labels(settings)
        )
        self.events = Events()
        self.access_log = AccessLog(handler)
        if settings.access_log:
            self.events.subscribe(self.access_log.observe, AnswerServed)
        self.events.subscribe(
            self.counters.observe,
            *(AnswerServed, UpstreamAsked, FileChanged, Prefetched, Evicted, AdvisoriesChecked),
            *(FileRefused, AuditLost, CredentialsChecked, ClientLimited, StoreFailed),
            PeerAsked,
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
    traffic, redis = proxy.traffic, proxy.cache.redis

    def breakers() -> Iterable[tuple[str, bool]]:
        return ((each.index, each.is_open) for each in traffic.breakers)

    return Sources(
        connections=connections,
        upstream=lambda what: traffic.running[what],
        breakers=breakers,
        turns=redis.outcomes if redis else {},
        redis_down=lambda: redis is not None and redis.is_away,
    )


def gauges(proxy: Proxy, reload_failed: bool) -> Iterator[Gauge]:
    """Values of now that are the same in all processes."""
    about = "1: the last reload of the settings was refused."
    yield Gauge("waystation_reload_failed", about, float(reload_failed))
    evictor = proxy.cache.evictor
    yield Gauge("waystation_cache_bytes", "Bytes of the files in the cache.", evictor.total)
    limit = float(evictor.max_size or 0)
    yield Gauge("waystation_cache_max_bytes", "The limit of them; 0: none.", limit)
    for each in proxy.deliveries:
        about = "Seconds for which the next change could not be delivered to a webhook; 0: it can."
        labels = {"webhook": each.webhook.name, "index": each.index}
        yield Gauge("waystation_webhook_failing_seconds", about, each.failing_seconds, labels)
    if advisories := proxy.advisories:
        about = "Seconds since the last check of the source of advisories that succeeded."
        yield Gauge("waystation_advisories_age_seconds", about, advisories.age)
        records = float(advisories.records)
        yield Gauge("waystation_advisories_records", "Advisories that are in force.", records)


def checks(settings: Settings, proxy: Proxy, reload_failed: bool) -> Iterator[Check]:
    """Whether parts of the server work; no failure makes the server unready."""
    yield _cache_check(proxy)
    if objects := proxy.cache.objects:
        about = "does not answer; files come from upstream" if objects.away else "answers"
        yield Check("object store", not objects.away, about)
    down = {each.index for each in proxy.traffic.breakers if each.is_open}
    for name in dict.fromkeys(each.index for each in proxy.traffic.breakers):
        about = "cannot be reached; answers come from the cache" if name in down else "is asked"
        yield Check(f"upstream {name}", name not in down, about)
    if redis := proxy.cache.redis:
        about = "does not answer; nothing is shared" if redis.is_away else "answers"
        yield Check("redis", not redis.is_away, about)
    about = "the last reload was refused; the former ones stay" if reload_failed else "in force"
    yield Check("settings", not reload_failed, about)
    if (advisories := proxy.advisories) and settings.advisories:
        fresh = advisories.age <= settings.advisories.max_age
        yield Check("advisories", fresh, f"checked {advisories.age:.0f} s ago")
    for each in proxy.deliveries:
        about = f"failing for {each.failing_seconds:.0f} s" if each.failing_seconds else "delivers"
        yield Check(str(each), not each.failing_seconds, about)
    for site in proxy.sites:
        problem = site.follower.problem
        yield Check(f"site {site.index}", not problem, problem or "is followed")
    if settings.audit:
        writes = os.access(audit_folder(settings), os.W_OK | os.X_OK)
        yield Check("audit", writes, "is written" if writes else "its folder cannot be written")


def _cache_check(proxy: Proxy) -> Check:
    folder, evictor = proxy.cache.folder, proxy.cache.evictor
    free = shutil.disk_usage(folder).free
    limit = f" of {size_text(evictor.max_size)}" if evictor.max_size else ""
    about = f"{size_text(evictor.total)}{limit}, {size_text(free)} free on the disk"
    if not os.access(folder, os.W_OK | os.X_OK):
        return Check("cache", False, f"cannot be written: nothing new is stored; {about}")
    return Check("cache", free > LITTLE_SPACE, about)


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


@asynccontextmanager
async def tracing(settings: Settings) -> AsyncIterator[Tracing | None]:
    """The spans that the settings ask for. Raises ``ConfigurationError``."""
    if settings.traces is None:
        yield None
        return
    from proxy.tracing import open_tracing  # not at every start

    async with open_tracing(str(settings.traces.endpoint), settings.traces.sample) as opened:
        yield opened
