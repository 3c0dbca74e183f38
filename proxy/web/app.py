"""The web application: which address is answered by what.

Tells of pages and files that clients get, for whoever foresees what they ask for next.
"""

from __future__ import annotations

import re
import time
from collections.abc import Awaitable, Callable

from aiohttp import web

from proxy.events import AnswerDelivered, Observer
from proxy.indexes import Index
from proxy.model import normalize
from proxy.simple import Links
from proxy.web.access_log import HANDLED_KEY
from proxy.web.files import FileHandler
from proxy.web.home import Home
from proxy.web.metrics import Counters, Metrics
from proxy.web.middleware import (
    AFTER_RESPONSE,
    EVENT_SINK,
    IS_LOGGED,
    REQUEST_BYTES,
    After,
    handle_request,
)
from proxy.web.pages import PAGE_KEY, SimplePages, redirect
from proxy.web.response_cache import ClientRefresh, ResponseCache, no_changes

_SLASHES = re.compile("/{2,}")


def create_app(
    index: Index,
    *,
    index_url: Callable[[], str],
    fixed_url: bool = True,
    prefix: str = "",
    provenance: Links | None = None,
    ready: Callable[[], bool] = lambda: True,
    finished: ResponseCache | None = None,
    asked: Callable[[AnswerDelivered], None] | None = None,
    events: Observer = lambda event: None,
    counters: Counters | None = None,
    logged: bool = True,
    clock: Callable[[], float] = time.time,
    client_refresh: ClientRefresh = "no-cache",
) -> web.Application:
    """An application that answers for one index.

    ``index_url`` is shown to people; without ``fixed_url``, the address of their request is.
    ``prefix`` is a path under which everything is answered
    too, for a server in front that passes it on. ``provenance`` is as in ``SimplePages``.
    ``finished`` gets the answers that may be given again, ``asked`` is told of pages and files
    that clients get, ``events`` of every request at its end. ``counters`` are those to show.
    ``logged``: requests have their lines in the access log. ``client_refresh``: which requests
    have a page revalidated, see ``max_page_age``.
    """
    app = web.Application(middlewares=[handle_request])
    app[IS_LOGGED] = logged
    app[EVENT_SINK] = events
    changes = finished.changes if finished else no_changes
    pages = SimplePages(index, provenance, changes, clock, client_refresh)
    files = FileHandler(index, changes)
    home = Home(index_url, ready, fixed=fixed_url)
    for root in dict.fromkeys(("", prefix)):
        app.add_routes(
            [
                web.get(f"{root}/", home.page),
                web.get(f"{root}/healthz", home.alive),
                web.get(f"{root}/readyz", home.ready),
                web.get(f"{root}/simple", _to_list),
                web.get(f"{root}/simple/", pages.projects),
                web.get(f"{root}/simple{{tail:(?:/.*)?//.*}}", _without_empty_segments),
                web.get(f"{root}/simple/index.html", _to_directory),
                web.get(f"{root}/simple/{{project}}/index.html", _to_directory),
                web.get(f"{root}/simple/{{project}}", pages.add_slash),
                web.get(f"{root}/simple/{{project}}/", pages.page),
                web.get(f"{root}/files/{{project}}/{{digest}}/{{filename}}", files.file),
            ]
        )
        if counters:
            app.router.add_get(f"{root}/metrics", Metrics(counters).page)

    if prefix:
        app.router.add_get(prefix, _to_home)

    async def close(_: web.Application) -> None:
        await pages.answers.close()

    app.on_cleanup.append(close)
    app.on_response_prepare.append(_sign)
    app[AFTER_RESPONSE] = [_keeper(finished)] if finished else []
    if asked:
        app[AFTER_RESPONSE].append(prefetch_notifier(asked))
        app.on_response_prepare.append(_at_the_start(prefetch_notifier(asked)))
    return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "waystation"
    if (handled := request.get(HANDLED_KEY)) is not None:
        handled.status = response.status
        if not isinstance(response, web.Response):
            handled.length = 0 if request.method == "HEAD" else response.content_length


def _at_the_start(tell: After) -> Callable[..., Awaitable[None]]:
    """Of what is streamed it is told when it begins: it may take long, and break off."""

    async def prepared(request: web.Request, response: web.StreamResponse) -> None:
        if not isinstance(response, web.Response):
            tell(request, response)

    return prepared


def _keeper(finished: ResponseCache) -> After:
    """Keeps marked answers with the bytes of their request."""

    def keep(request: web.Request, response: web.StreamResponse) -> None:
        key = request.get(REQUEST_BYTES)
        if isinstance(key, bytes) and isinstance(response, web.Response):
            finished.keep(key, request, response)

    return keep


async def _to_home(request: web.Request) -> web.Response:
    return redirect(request, request.path.rpartition("/")[2] + "/")


async def _to_directory(request: web.Request) -> web.Response:
    return redirect(request, "./")


async def _without_empty_segments(request: web.Request) -> web.Response:
    """``/simple//six/`` means ``/simple/six/``: a slash was written twice somewhere."""
    path = request.rel_url.raw_path
    start = path.index("//")
    rest = path[start:]
    return redirect(request, "../" * (rest.count("/") - 1) + _SLASHES.sub("/", rest)[1:])


async def _to_list(request: web.Request) -> web.Response:
    return redirect(request, "simple/")


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
