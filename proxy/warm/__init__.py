"""Warm: fill a cache, prove that it is complete, keep it filled."""

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
    record_metadata,
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
    "record_metadata",
    "sync",
    "temporary_cache",
    "warm",
    "warm_remote",
]
