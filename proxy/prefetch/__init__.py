"""Prefetch: fetches what a client will probably request next, within limits."""

from proxy.prefetch.fetcher import (
    MARK_COLUMNS,
    WorkerMarks,
)
from proxy.prefetch.prefetcher import PrefetchLimits
from proxy.prefetch.prefetching import (
    Prefetching,
    open_prefetchers,
)

__all__ = [
    "MARK_COLUMNS",
    "PrefetchLimits",
    "Prefetching",
    "WorkerMarks",
    "open_prefetchers",
]
