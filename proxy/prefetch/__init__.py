"""Prefetch: fetches what a client will probably request next, within limits."""

from typing import TYPE_CHECKING

from proxy import late_names
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
from proxy.prefetch.user_agent import read_user_agent

if TYPE_CHECKING:
    from proxy.prefetch.site_follower import SiteFollower
else:  # what a start without such settings does not need
    __getattr__ = late_names(__name__, "site_follower")

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
