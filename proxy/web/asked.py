"""Tells of pages and files that clients get, for whoever foresees what they ask for next."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from proxy.events import Asked
from proxy.simple.names import normalize
from proxy.web.access_log import HANDLED
from proxy.web.simple import PAGE

ANSWERS = (200, 206, 304)


def teller(
    told: Callable[[Asked], None],
) -> Callable[[web.Request, web.StreamResponse], None]:
    """For when an answer has been sent. ``told`` must not block or raise."""

    def tell(request: web.Request, response: web.StreamResponse) -> None:
        page = request.get(PAGE)
        filename = request.match_info.get("filename", "")
        if response.status not in ANSWERS or request.method != "GET" or not (page or filename):
            return
        told(
            Asked(
                client=request.headers.get("X-Forwarded-For") or request.remote or "",
                user_agent=request.headers.get("User-Agent", ""),
                project=normalize(request.match_info["project"]),
                outcome=request[HANDLED].outcome,
                page=page,
                filename=filename,
                digest=request.match_info.get("digest", ""),
                held=response.status == 304,
            )
        )

    return tell
