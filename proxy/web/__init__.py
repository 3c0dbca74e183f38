"""Web: HTTP in, HTTP out. Knows indexes by their contract alone."""

from aiohttp.web import Application

from proxy.web.access_log import AccessLog
from proxy.web.admin import Administration, authorize_administration
from proxy.web.app import MOUNTS, PageRoute, create_app
from proxy.web.authentication import GATE, may, require, requiring, visible_projects
from proxy.web.conditional import not_modified
from proxy.web.counters import Counters, MetricLabels
from proxy.web.errors import plain, response_for, status_of
from proxy.web.fast_path_events import FastPathEvents
from proxy.web.figures import Figures, figures_of
from proxy.web.home import Check, origin_of, split_address
from proxy.web.limits import ClientLimits, Limit
from proxy.web.metric_families import COUNTER_COLUMNS
from proxy.web.metrics import (
    Gauge,
)
from proxy.web.mounts import Generation, Mount, Mounts
from proxy.web.pages import redirect
from proxy.web.refusals import RefusalEvents, log_observed_refusals
from proxy.web.request_state import REQUEST_STATE, RequestState
from proxy.web.response_cache import ResponseCache
from proxy.web.sampling import Sources
from proxy.web.server import (
    STOP_SIGNALS,
    Server,
    tls_context,
)

__all__ = [
    "COUNTER_COLUMNS",
    "GATE",
    "MOUNTS",
    "REQUEST_STATE",
    "STOP_SIGNALS",
    "AccessLog",
    "Administration",
    "Application",
    "Check",
    "ClientLimits",
    "Counters",
    "FastPathEvents",
    "Figures",
    "Gauge",
    "Generation",
    "Limit",
    "MetricLabels",
    "Mount",
    "Mounts",
    "PageRoute",
    "RefusalEvents",
    "RequestState",
    "ResponseCache",
    "Server",
    "Sources",
    "authorize_administration",
    "create_app",
    "figures_of",
    "log_observed_refusals",
    "may",
    "not_modified",
    "origin_of",
    "plain",
    "redirect",
    "require",
    "requiring",
    "response_for",
    "split_address",
    "status_of",
    "tls_context",
    "visible_projects",
]
