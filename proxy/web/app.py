"""The web application: which address is answered by what, and what holds for all of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.errors import IndexUnavailable, ProxyError, UpstreamError
from proxy.indexes.base import Index
from proxy.simple.links import Link
from proxy.web.access_log import begin
from proxy.web.errors import plain, response_for
from proxy.web.files import Files
from proxy.web.finished import FinishedAnswers
from proxy.web.home import Home
from proxy.web.simple import SimplePages, redirect

log = logging.getLogger(__name__)


def create_app(
    index: Index,
    *,
    index_url: str,
    prefix: str = "",
    provenance: Link | None = None,
    ready: Callable[[], bool] = lambda: True,
    write_timeout: float = 60.0,
    finished: FinishedAnswers | None = None,
    clock: Callable[[], float] = time.time,
) -> web.Application:
    """An application that answers for one index.

    ``index_url`` is shown to people. ``prefix`` is a path under which everything is answered
    too, for a server in front that passes it on. ``provenance`` is as in ``SimplePages``,
    ``write_timeout`` in seconds. ``finished`` gets the answers that may be given again.
    """
    app = web.Application(middlewares=[outermost])
    pages = SimplePages(index, provenance, clock)
    files = Files(index, write_timeout)
    home = Home(index_url, ready)
    for root in {"", prefix}:
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

    async def close(_: web.Application) -> None:
        await pages.answers.close()

    app.on_cleanup.append(close)
    app.on_response_prepare.append(_sign)
    if finished:
        app.on_response_prepare.append(_keeper(finished))
    return app


async def _sign(_: web.Request, response: web.StreamResponse) -> None:
    response.headers["Server"] = "waystation"


def _keeper(finished: FinishedAnswers) -> Callable[..., Awaitable[None]]:
    """Keeps marked answers with the bytes of their request, when their headers are complete."""

    async def keep(request: web.Request, response: web.StreamResponse) -> None:
        key = getattr(request.protocol, "request_bytes", None)
        if key is not None and isinstance(response, web.Response):
            finished.keep(key, request, response)

    return keep


async def _to_list(request: web.Request) -> web.Response:
    return redirect(request, "simple/")


@web.middleware
async def outermost(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Turns errors into answers; a client never sees a traceback."""
    begin(request)
    try:
        if (refusal := _refusal(request)) is not None:
            return refusal
        return await handler(request)
    except ProxyError as error:
        level = logging.WARNING if _is_trouble(error) else logging.INFO
        log.log(level, "%s", error)
        return response_for(error)
    except web.HTTPException as error:
        response = plain(error.status, f"{error.status} {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    except Exception:
        log.exception("%s %r failed", request.method, request.raw_path)
        return plain(500, "internal error; the log of the server says more")


def _refusal(request: web.Request) -> web.Response | None:
    """Requests whose authority is ambiguous are not for us (RFC 9112 section 3.2)."""
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (request.version >= (1, 1) and not any(hosts)):
        return plain(400, "one Host header is needed")
    if not request.raw_path.startswith("/") and request.rel_url.raw_authority != hosts[0]:
        return plain(400, "the target names another host")
    return None


def _is_trouble(error: ProxyError) -> bool:
    return isinstance(error, UpstreamError | IndexUnavailable)
