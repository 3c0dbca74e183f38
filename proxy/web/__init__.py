"""Web: HTTP in, HTTP out. Knows indexes by their contract alone."""

from aiohttp.web import Application

from proxy.web.access_log import AccessLog
from proxy.web.app import MOUNTS, create_app
from proxy.web.fast_path_events import FastPathEvents
from proxy.web.metrics import (
    COUNTER_COLUMNS,
    Counters,
    Gauge,
)
from proxy.web.mounts import Generation, Mounts
from proxy.web.refusals import RefusalEvents, log_observed_refusals
from proxy.web.response_cache import ResponseCache
from proxy.web.server import (
    STOP_SIGNALS,
    Server,
    tls_context,
)

__all__ = [
    "COUNTER_COLUMNS",
    "MOUNTS",
    "STOP_SIGNALS",
    "AccessLog",
    "Application",
    "Counters",
    "FastPathEvents",
    "Gauge",
    "Generation",
    "Mounts",
    "RefusalEvents",
    "ResponseCache",
    "Server",
    "create_app",
    "log_observed_refusals",
    "tls_context",
]
