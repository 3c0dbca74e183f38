"""Few numbers for people, added up from the many columns of the counters."""

from __future__ import annotations

import msgspec

from proxy.events import Outcome, PrefetchResult, RequestKind
from proxy.web.counters import Counters
from proxy.web.metric_families import (
    ANSWER_TIMES,
    BYTES_SAVED,
    BYTES_SENT,
    EVICTED_BYTES,
    EVICTED_FILES,
    PREFETCHED_THINGS,
    REQUEST_COUNTS,
    UPSTREAM_REQUESTS,
)

_INSTALLER_REQUESTS = (RequestKind.PAGE, RequestKind.METADATA, RequestKind.FILE)
_FROM_UPSTREAM = (Outcome.MISS, Outcome.JOINED)
_SLOW_BOUND = 1.0
"""Seconds; of the bounds of the histogram."""


class Figures(msgspec.Struct, array_like=True):
    """Requests of installers and their answers, so far or in a span of time."""

    here: float = 0
    """Answers that needed no upstream."""
    fetched: float = 0
    """Answers for which the upstream was asked."""
    refused: float = 0
    failed: float = 0
    """Answers with a status from 500 on."""
    other: float = 0
    """Not found, wrong requests, and clients that left."""
    sent: float = 0
    """Bytes."""
    saved: float = 0
    """Bytes of them that no upstream sent for the request."""
    upstream_ok: float = 0
    upstream_failed: float = 0
    evicted_files: float = 0
    evicted_bytes: float = 0
    prefetched: float = 0
    used: float = 0
    """Of what was prefetched."""
    wasted: float = 0
    timed: float = 0
    """Answers whose time was taken."""
    seconds: float = 0
    """That these took, all together."""
    slow: float = 0
    """That took longer than a second."""

    def since(self, before: Figures) -> Figures | None:
        """The difference to ``before``; None if the server was restarted since."""
        now, then = msgspec.structs.astuple(self), msgspec.structs.astuple(before)
        differences = [one - other for one, other in zip(now, then, strict=True)]
        return None if min(differences) < 0 else Figures(*differences)

    def plus(self, other: Figures) -> Figures:
        both = zip(msgspec.structs.astuple(self), msgspec.structs.astuple(other), strict=True)
        return Figures(*map(sum, both))


def figures_of(counters: Counters) -> Figures:
    """The sums over all processes of the server so far. Takes about a millisecond."""
    shown, found = counters.shown(), Figures()
    for (_, kind, outcome, status), count in shown.counted(REQUEST_COUNTS):
        if kind in _INSTALLER_REQUESTS:
            name = _group(outcome, status)
            setattr(found, name, getattr(found, name) + count)
    found.sent = sum(count for _, count in shown.counted(BYTES_SENT))
    found.saved = sum(count for _, count in shown.counted(BYTES_SAVED))
    for (_, result), count in shown.counted(UPSTREAM_REQUESTS):
        if result == "answered":
            found.upstream_ok += count
        else:
            found.upstream_failed += count
    found.evicted_files = sum(count for _, count in shown.counted(EVICTED_FILES))
    found.evicted_bytes = sum(count for _, count in shown.counted(EVICTED_BYTES))
    fates = {labels[0]: count for labels, count in shown.series(PREFETCHED_THINGS)}
    found.prefetched = fates[PrefetchResult.FETCHED]
    found.used, found.wasted = fates[PrefetchResult.USED], fates[PrefetchResult.WASTED]
    below = ANSWER_TIMES.bounds.index(_SLOW_BOUND)
    for (kind, _), counts, seconds in shown.buckets(ANSWER_TIMES):
        if kind in _INSTALLER_REQUESTS:
            found.timed += counts[-1]
            found.seconds += seconds
            found.slow += counts[-1] - counts[below]
    return found


def _group(outcome: str, status: str) -> str:
    if status.startswith("5"):
        return "failed"
    if status == "403":
        return "refused"
    if outcome in _FROM_UPSTREAM and status < "400":
        return "fetched"
    return "here" if status < "400" else "other"
