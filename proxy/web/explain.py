"""``/+explain/…``: why a project, version or file is shown or not, as JSON and for people."""

from __future__ import annotations

import time
from collections.abc import Callable

import msgspec
from aiohttp import web

from proxy.distributions import Target, parse_targets
from proxy.errors import ConfigurationError
from proxy.explain import Question, explain, hints
from proxy.indexes import Index
from proxy.prefetch import read_user_agent
from proxy.web.errors import plain
from proxy.web.home import html_page
from proxy.web.request_state import REQUEST_STATE, project_of

MAX_WANTED = 300
"""Characters of the version or file name that is asked about."""


class Explain:
    """Handler of ``/+explain/<project>`` and ``/+explain/<project>/<version or file name>``."""

    def __init__(self, index: Index, clock: Callable[[], float] = time.time) -> None:
        self._index = index
        self._clock = clock

    async def page(self, request: web.Request) -> web.Response:
        request[REQUEST_STATE].index = self._index.name
        project = project_of(request)
        wanted = request.match_info.get("wanted", "").strip()[:MAX_WANTED]
        try:
            target = _target(request)
        except ConfigurationError as error:
            return plain(400, str(error))
        report = await explain(self._index, Question(project, wanted, target), self._clock())
        sentences = hints(report)
        if _wants_html(request):
            return html_page(
                "explain.html",
                "no-store",
                report=report,
                hints=sentences,
                python=request.query.get("python", ""),
                platform=request.query.get("platform", ""),
                up="../" * (2 if "wanted" in request.match_info else 1),
            )
        values = msgspec.to_builtins(report) | {"hints": sentences}
        return web.Response(
            body=msgspec.json.format(msgspec.json.encode(values), indent=2) + b"\n",
            content_type="application/json",
            headers={"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"},
        )


def _target(request: web.Request) -> Target | None:
    """The environment that the query names, else that of pip or uv if one of them asks.

    Raises ``ConfigurationError``.
    """
    python, platform = request.query.get("python"), request.query.get("platform")
    if python or platform:
        return parse_targets([python] if python else [], [platform] if platform else [])[0]
    client = read_user_agent(request.headers.get("User-Agent", ""))
    return client.target if client else None


def _wants_html(request: web.Request) -> bool:
    if format_ := request.query.get("format"):
        return format_ == "html"
    return "text/html" in request.headers.get("Accept", "")
