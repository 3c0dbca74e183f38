"""The middleware of every request: sends the response, maps errors to statuses, emits events."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable

from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.errors import Denied, IndexUnavailable, ProxyError, StoreDamaged, UpstreamError
from proxy.events import Observer
from proxy.web.authentication import GATE, keep_private
from proxy.web.errors import INTERNAL_ERROR, plain, response_for
from proxy.web.fast_path import reset_connection
from proxy.web.refusals import refused
from proxy.web.request_state import REQUEST_STATE, RequestState, begin, body_of, served
from proxy.web.response_cache import CACHE_STATUS, ResponseCache

log = logging.getLogger(__name__)

_ABSOLUTE_TARGET = re.compile(r"https?://[^/?#@\s]+(?:[/?#]|\Z)", re.IGNORECASE)

LOGGED_ERRORS = (UpstreamError, IndexUnavailable, StoreDamaged)
"""Errors that the operator of the server should know of."""

EVENT_OBSERVER: web.AppKey[Observer] = web.AppKey("events")
"""Gets ``AnswerServed`` for every request."""
READY: web.AppKey[Callable[[], bool]] = web.AppKey("ready")
"""False once the server is to stop."""
RESPONSE_CACHE: web.AppKey[ResponseCache] = web.AppKey("response cache")


@web.middleware
async def handle_request(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Send the response here, and not in aiohttp, so that its end is seen.

    An error becomes a response as long as no head was sent; after that it breaks the answer off.
    """
    state = begin(request)
    complete: web.StreamResponse | None = None
    try:
        response = await _answer(request, handler, state)
        await response.prepare(request)
        await response.write_eof()
        state.sent += len(body_of(request.method, response))
        complete = response
    except (asyncio.CancelledError, ConnectionError):
        if not state.is_complete:
            state.failure = state.failure or "the client left, or the server stopped"
        raise
    finally:
        # uvloop sends what was written when all callbacks that are due have run.
        asyncio.get_running_loop().call_soon(_finish, request, state, complete)
    return response


def _finish(request: web.Request, state: RequestState, response: web.StreamResponse | None) -> None:
    """Cache the response and emit the event. ``response``: None if it broke off."""
    event = served(request, state)
    if (
        isinstance(response, web.Response)
        and response.status == 401
        and (gate := request.app.get(GATE))
    ):
        gate.keep_challenge(response, event)
    if state.request_bytes and isinstance(response, web.Response):
        request.app[RESPONSE_CACHE].keep(state.request_bytes, response, event)
    request.app[EVENT_OBSERVER](event)


async def note_start(request: web.Request, response: web.StreamResponse) -> None:
    """The head of a response is about to be sent."""
    response.headers["Server"] = "waystation"
    if not request.app[READY]():
        response.force_close()
        response.headers["Connection"] = "close"
    if (state := request.get(REQUEST_STATE)) is not None:
        state.status = response.status
        if state.rights is not None:
            keep_private(response)
        if state.outcome:
            response.headers["Cache-Status"] = CACHE_STATUS[state.outcome]
        if not isinstance(response, web.Response):
            state.length = 0 if request.method == "HEAD" else response.content_length


async def _answer(
    request: web.Request, handler: Handler, state: RequestState
) -> web.StreamResponse:
    """Raises ``ConnectionError`` where the answer had begun and cannot be completed."""
    try:
        return _refusal(request) or await handler(request)
    except ConnectionError:
        raise
    except Exception as error:
        response = _error_response(request, error, state)
        if state.status is None:
            return response
        state.failure = str(error) if isinstance(error, ProxyError) else "internal error"
        reset_connection(request.transport)
        raise ConnectionAbortedError from error


def _error_response(request: web.Request, error: Exception, state: RequestState) -> web.Response:
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
        state.reason = str(error)
        if isinstance(error, Denied) and error.rule:
            state.rule = error.rule
            return refused(request, error)
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
    if request.raw_path.startswith("/") or _ABSOLUTE_TARGET.match(request.raw_path):
        return None
    return plain(400, "the target is neither a path nor an HTTP address")
