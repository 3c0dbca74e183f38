"""Warm: fill a cache, prove that it is complete, keep it filled."""

from proxy.warm.fetch import missing
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
    display,
)
from proxy.warm.ready import (
    Readiness,
    ready,
)
from proxy.warm.warm import (
    Report,
    remember,
    warm,
    warm_remote,
)

__all__ = [
    "Keep",
    "KeepResult",
    "KeepRunner",
    "NoDisplay",
    "Readiness",
    "Report",
    "Schedule",
    "all_changes",
    "display",
    "missing",
    "ready",
    "remember",
    "sync",
    "temporary_cache",
    "warm",
    "warm_remote",
]
