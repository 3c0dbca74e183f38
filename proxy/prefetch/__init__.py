"""Prefetch: fetches what a client will probably request next, within limits."""

from proxy.prefetch.choose_wheel import choose_file
from proxy.prefetch.fetcher import (
    MARK_COLUMNS,
    WorkerMarks,
)
from proxy.prefetch.prefetcher import PrefetchLimits
from proxy.prefetch.prefetching import (
    Prefetching,
    open_prefetchers,
)
from proxy.prefetch.site_follower import SiteFollower
from proxy.prefetch.user_agent import read_user_agent

__all__ = [
    "MARK_COLUMNS",
    "PrefetchLimits",
    "Prefetching",
    "SiteFollower",
    "WorkerMarks",
    "choose_file",
    "open_prefetchers",
    "read_user_agent",
]
