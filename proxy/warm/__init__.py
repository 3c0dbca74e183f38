"""Warm: fills a cache with what builds need, proves that it is complete, and keeps it so."""

from proxy.warm.fetch import find_missing
from proxy.warm.keep.run import (
    KeepResult,
    KeepRunner,
    temporary_cache,
)
from proxy.warm.keep.schedule import (
    Schedule,
    all_changes,
    sync,
)
from proxy.warm.keep.table import Keep
from proxy.warm.progress import (
    NoDisplay,
    choose_display,
)
from proxy.warm.ready import (
    Readiness,
    ready,
)
from proxy.warm.warm import (
    WarmReport,
    warm,
    warm_remote,
)

__all__ = [
    "Keep",
    "KeepResult",
    "KeepRunner",
    "NoDisplay",
    "Readiness",
    "Schedule",
    "WarmReport",
    "all_changes",
    "choose_display",
    "find_missing",
    "ready",
    "sync",
    "temporary_cache",
    "warm",
    "warm_remote",
]
