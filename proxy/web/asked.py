"""Tells of pages and files that clients get, for whoever foresees what they ask for next."""

from __future__ import annotations

from collections.abc import Callable

from aiohttp import web

from proxy.events import AnswerDelivered
from proxy.model import normalize
from proxy.web.access_log import HANDLED_KEY
from proxy.web.simple import PAGE_KEY

DELIVERED_STATUSES = (200, 206, 304)


def prefetch_notifier(
    told: Callable[[AnswerDelivered], None],
) -> Callable[[web.Request, web.StreamResponse], None]:
    """For when an answer has been sent. ``told`` must not block or raise."""

    def tell(request: web.Request, response: web.StreamResponse) -> None:
        page = request.get(PAGE_KEY)
        filename = request.match_info.get("filename", "")
        if (
            response.status not in DELIVERED_STATUSES
            or request.method != "GET"
            or not (page or filename)
        ):
            return
        told(
            AnswerDelivered(
                client=request.headers.get("X-Forwarded-For") or request.remote or "",
                user_agent=request.headers.get("User-Agent", ""),
                project=normalize(request.match_info["project"]),
                outcome=request[HANDLED_KEY].outcome,
                page=page,
                filename=filename,
                digest=request.match_info.get("digest", ""),
                held=response.status == 304,
            )
        )

    return tell
