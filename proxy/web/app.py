"""The web application: which address is answered by what, and what holds for all of them."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.counters import Counters
from proxy.errors import IndexUnavailable, ProxyError, StoreDamaged, UpstreamError
from proxy.events import Asked, Observer
from proxy.indexes.base import Index
from proxy.simple.links import Links
from proxy.web.access_log import HANDLED, Handled, begin, body_of, write_line
from proxy.web.asked import teller
from proxy.web.connection import cut
from proxy.web.errors import INTERNAL, plain, response_for
from proxy.web.files import Files
from proxy.web.finished import FinishedAnswers
from proxy.web.home import Home
from proxy.web.metrics import Metrics, answered
from proxy.web.repeatable import no_changes
from proxy.web.simple import SimplePages, redirect

log = logging.getLogger(__name__)

TROUBLES = (UpstreamError, IndexUnavailable, StoreDamaged)
"""Errors that whoever runs the server should know of."""

LOGGED = web.AppKey("logged", bool)
After = Callable[[web.Request, web.StreamResponse], None]
AFTER = web.AppKey("after", list[After])
"""What is done once a whole answer has been sent, so that nobody waits for it."""
KEY = web.RequestKey("key", object)
"""The bytes of the request, if an answer to it may be kept."""
EVENTS: web.AppKey[Observer] = web.AppKey("events")


def create_app(
    index: Index,
    *,
    index_url: Callable[[], str],
    prefix: str = "",
    provenance: Links | None = None,
    ready: Callable[[], bool] = lambda: True,
    finished: FinishedAnswers | None = None,
    asked: Callable[[Asked], None] | None = None,
    events: Observer = lambda event: None,
    counters: Counters | None = None,
    logged: bool = True,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """An application that answers for one index.

    ``index_url`` is shown to people. ``prefix`` is a path under which everything is answered
    too, for a server in front that passes it on. ``provenance`` is as in ``SimplePages``.
    ``finished`` gets the answers that may be given again, ``asked`` is told of pages and files
    that clients get, ``events`` of every request at its end. ``counters`` are those to show.
    ``logged``: requests have their lines in the access log.
    """
    app = web.Application(middlewares=[outermost])
    app[LOGGED] = logged
    app[EVENTS] = events
    changes = finished.changes if finished else no_changes
    pages = SimplePages(index, provenance, changes, clock)
    files = Files(index, changes)
    home = Home(index_url, ready)
    for root in dict.fromkeys(("", prefix)):
        app.add_routes(
            [
                web.get(f"{root}/", home.page),
                web.get(f"{root}/healthz", home.alive),
                web.get(f"{root}/readyz", home.ready),
                web.get(f"{root}/simple", _to_list),
                web.get(f"{root}/simple/", pages.projects),
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
    app[AFTER] = [_keeper(finished)] if finished else []
    if asked:
        app[AFTER].append(teller(asked))
        app.on_response_prepare.append(_at_the_start(teller(asked)))
    return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "waystation"
    if (handled := request.get(HANDLED)) is not None:
        handled.status = response.status


def _at_the_start(tell: After) -> Callable[..., Awaitable[None]]:
    """Of what is streamed it is told when it begins: it may take long, and break off."""

    async def prepared(request: web.Request, response: web.StreamResponse) -> None:
        if not isinstance(response, web.Response):
            tell(request, response)

    return prepared


def _keeper(finished: FinishedAnswers) -> After:
    """Keeps marked answers with the bytes of their request."""

    def keep(request: web.Request, response: web.StreamResponse) -> None:
        key = request.get(KEY)
        if isinstance(key, bytes) and isinstance(response, web.Response):
            finished.keep(key, request, response)

    return keep


async def _to_home(request: web.Request) -> web.Response:
    return redirect(request, request.path.rpartition("/")[2] + "/")


async def _to_list(request: web.Request) -> web.Response:
    return redirect(request, "simple/")


@web.middleware
async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Sends the answer, here and not behind our back, so that every end of it is seen.

    An error is told while the head of the answer is not out, and breaks the answer off after.
    """
    handled = begin(request)
    # Taken now: the connection's next request may be here before this one has been followed.
    request[KEY] = getattr(request.protocol, "request_bytes", None)
    try:
        response = await _answer(request, handler, handled)
        await response.prepare(request)
        await response.write_eof()
        handled.sent += len(body_of(request, response))
        if isinstance(response, web.Response):
            _soon(_follow, request, response)
    except (asyncio.CancelledError, ConnectionError):
        handled.trouble = handled.trouble or "the client was gone, or the server stopped"
        raise
    finally:
        _soon(_tell, request, handled)
    return response


def _soon(work: Callable[..., None], *given: object) -> None:
    """After what was written has been sent, which uvloop does when all that is due is done."""
    asyncio.get_running_loop().call_soon(work, *given)


def _follow(request: web.Request, response: web.StreamResponse) -> None:
    for follow in request.app[AFTER]:
        follow(request, response)


def _tell(request: web.Request, handled: Handled) -> None:
    if request.app[LOGGED]:
        write_line(request, handled)
    request.app[EVENTS](answered(request, handled))


async def _answer(request: web.Request, handler: Handler, handled: Handled) -> web.StreamResponse:
    """Raises ``ConnectionError`` where the answer had begun and cannot be ended."""
    try:
        return _refusal(request) or await handler(request)
    except ConnectionError:
        raise
    except Exception as error:
        response = _told(request, error)
        if handled.status is None:
            return response
        handled.trouble = str(error) if isinstance(error, ProxyError) else "internal error"
        cut(request.transport)
        raise ConnectionAbortedError from error


def _told(request: web.Request, error: Exception) -> web.Response:
    """The error as an answer; a client never sees a traceback."""
    if isinstance(error, ProxyError):
        level = logging.WARNING if isinstance(error, TROUBLES) else logging.INFO
        log.log(level, "%s", error)
        return response_for(error)
    if isinstance(error, web.HTTPException):
        response = plain(error.status, f"{error.status} {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    log.error("%s %r failed", request.method, request.raw_path, exc_info=error)
    return plain(500, INTERNAL)


def _refusal(request: web.Request) -> web.Response | None:
    """Requests whose authority is ambiguous are not for us (RFC 9112 section 3.2)."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (request.version >= (1, 1) and not any(hosts)):
        return plain(400, "one Host header is needed")
    if request.raw_path.startswith("/"):
        return None
    if not hosts or urlsplit(request.raw_path).netloc.lower() != hosts[0].lower():
        return plain(400, "the target names another host")
    return None
