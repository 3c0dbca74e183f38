"""Web: HTTP in, HTTP out. Knows indexes by their contract alone."""

from proxy.web.access_log import observe
from proxy.web.app import create_app
from proxy.web.fast_path_log import CachedResponseLog
from proxy.web.metrics import (
    COUNTER_COLUMNS,
    Counters,
)
from proxy.web.response_cache import ResponseCache
from proxy.web.server import (
    Server,
    tls_context,
)

__all__ = [
    "COUNTER_COLUMNS",
    "CachedResponseLog",
    "Counters",
    "ResponseCache",
    "Server",
    "create_app",
    "observe",
    "tls_context",
]
