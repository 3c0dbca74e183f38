"""What is around every request: its answer or error is sent, its end is seen and told."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.errors import IndexUnavailable, ProxyError, StoreDamaged, UpstreamError
from proxy.events import Observer
from proxy.web.access_log import Handled, begin, body_of, write_line
from proxy.web.errors import INTERNAL_ERROR, plain, response_for
from proxy.web.fast_path import reset_connection
from proxy.web.metrics import answered

log = logging.getLogger(__name__)

_ABSOLUTE = re.compile(r"https?://[^/?#@\s]+(?:[/?#]|\Z)", re.IGNORECASE)

LOGGED_ERRORS = (UpstreamError, IndexUnavailable, StoreDamaged)
"""Errors that whoever runs the server should know of."""

IS_LOGGED = web.AppKey("logged", bool)
After = Callable[[web.Request, web.StreamResponse], None]
AFTER_RESPONSE = web.AppKey("after", list[After])
"""What is done once a whole answer has been sent, so that nobody waits for it."""
REQUEST_BYTES = web.RequestKey("key", object)
"""The bytes of the request, if an answer to it may be kept."""
EVENT_SINK: web.AppKey[Observer] = web.AppKey("events")


@web.middleware
async def handle_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Sends the answer, here and not behind our back, so that every end of it is seen.

    An error is told while the head of the answer is not out, and breaks the answer off after.
    """
    handled = begin(request)
    # Taken now: the connection's next request may be here before this one has been followed.
    request[REQUEST_BYTES] = getattr(request.protocol, "request_bytes", None)
    try:
        response = await _answer(request, handler, handled)
        await response.prepare(request)
        await response.write_eof()
        handled.sent += len(body_of(request, response))
        if isinstance(response, web.Response):
            _soon(_follow, request, response)
    except (asyncio.CancelledError, ConnectionError):
        if not handled.whole:
            handled.trouble = handled.trouble or "the client left, or the server stopped"
        raise
    finally:
        _soon(_tell, request, handled)
    return response


def _soon(work: Callable[..., None], *given: object) -> None:
    """After what was written has been sent, which uvloop does when all that is due is done."""
    asyncio.get_running_loop().call_soon(work, *given)


def _follow(request: web.Request, response: web.StreamResponse) -> None:
    for follow in request.app[AFTER_RESPONSE]:
        follow(request, response)


def _tell(request: web.Request, handled: Handled) -> None:
    if request.app[IS_LOGGED]:
        write_line(request, handled)
    request.app[EVENT_SINK](answered(request, handled))


async def _answer(request: web.Request, handler: Handler, handled: Handled) -> web.StreamResponse:
    """Raises ``ConnectionError`` where the answer had begun and cannot be ended."""
    try:
        return _refusal(request) or await handler(request)
    except ConnectionError:
        raise
    except Exception as error:
        response = _error_response(request, error, handled)
        if handled.status is None:
            return response
        handled.trouble = str(error) if isinstance(error, ProxyError) else "internal error"
        reset_connection(request.transport)
        raise ConnectionAbortedError from error


def _error_response(request: web.Request, error: Exception, handled: Handled) -> web.Response:
    """The error as an answer; a client never sees a traceback."""
    if isinstance(error, LOGGED_ERRORS):
        fields = {
            "project": request.match_info.get("project"),
            "address": getattr(error, "address", None),
        }
        known = {name: value for name, value in fields.items() if value}
        log.warning("%s", error, extra={"fields": known})
        return response_for(error)
    if isinstance(error, ProxyError):  # the line of the request is enough
        handled.reason = str(error)
        return response_for(error)
    if isinstance(error, web.HTTPException):
        response = plain(error.status, f"{error.status} {error.reason}")
        if "Allow" in error.headers:
            response.headers["Allow"] = error.headers["Allow"]
        return response
    log.error("%s %r failed", request.method, request.raw_path, exc_info=error)
    return plain(500, INTERNAL_ERROR)


def _refusal(request: web.Request) -> web.Response | None:
    """Requests whose authority is ambiguous are refused (RFC 9112, section 3.2).

    An absolute target names the authority itself; ``Host`` is irrelevant then (3.2.2).
    """
    hosts = request.headers.getall("Host", [])
    if len(hosts) > 1 or (request.version >= (1, 1) and not any(hosts)):
        return plain(400, "one Host header is needed")
    if request.raw_path.startswith("/") or _ABSOLUTE.match(request.raw_path):
        return None
    return plain(400, "the target is no path and no address of HTTP")
