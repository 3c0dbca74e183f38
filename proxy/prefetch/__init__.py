"""Prefetch: fetches what a client will probably request next, within limits."""

from proxy.prefetch.fetcher import (
    MARK_COLUMNS,
    WorkerMarks,
)
from proxy.prefetch.prefetcher import (
    Prefetcher,
    open_prefetcher,
)

__all__ = [
    "MARK_COLUMNS",
    "Prefetcher",
    "WorkerMarks",
    "open_prefetcher",
]
