"""One line per request: what was asked by which tool, what came of it, how long it took."""

from __future__ import annotations

import logging
import re
from contextvars import ContextVar
from time import perf_counter

from aiohttp import web

from proxy.events import Event, FileAnswered, Outcome, PageAnswered

log = logging.getLogger("waystation.access")

_TOOL = re.compile(r"[A-Za-z][\w.+-]{0,40}/[\w.+-]{1,40}", re.ASCII)


CLIENT_CLOSED = 499
"""Stands for the status where the client left before there was one."""


class Handled:
    """What became of one request."""

    __slots__ = ("length", "outcome", "reason", "sent", "started", "status", "trouble")

    def __init__(self) -> None:
        self.started = perf_counter()
        self.status: int | None = None
        """None until the head of the answer is on its way."""
        self.length: int | None = None
        """Bytes of the body that is sent piece by piece, if they are known beforehand."""
        self.sent = 0
        """Bytes of the body."""
        self.outcome: Outcome | None = None
        self.trouble: str | None = None
        """Why the answer broke off."""
        self.reason: str | None = None
        """Why the client got an error."""

    @property
    def whole(self) -> bool:
        """Whether the whole body is known to be sent."""
        return self.length is not None and self.sent >= self.length


_current: ContextVar[Handled] = ContextVar("handled")
HANDLED_KEY = web.RequestKey("handled", Handled)


def begin(request: web.Request) -> Handled:
    """Note what happens from now on in this task as part of the request."""
    handled = request[HANDLED_KEY] = Handled()
    _current.set(handled)
    return handled


def observe(event: Event) -> None:
    """An observer: work done for a request happens in its task."""
    if isinstance(event, PageAnswered | FileAnswered):
        handled = _current.get(None)
        if handled is not None:
            handled.outcome = event.outcome


def write_line(request: web.BaseRequest, handled: Handled) -> None:
    """To be called once the answer has been sent, or has broken off."""
    if not log.isEnabledFor(logging.INFO):
        return
    fields = {
        "client": request.remote or "-",
        **log_fields(request, handled.status or CLIENT_CLOSED, handled.outcome, handled.sent),
        "ms": round((perf_counter() - handled.started) * 1000, 2),
    }
    if handled.reason:
        fields["reason"] = handled.reason
    if handled.trouble:
        fields["trouble"] = handled.trouble
    log.info("request", extra=log_extra(fields))


def log_extra(fields: dict[str, object]) -> dict[str, object]:
    """What the formatters get of a line."""
    return {"fields": fields, "lead": ("outcome", "status", "method", "path")}


def log_fields(
    request: web.BaseRequest, status: int, outcome: Outcome | None, sent: int
) -> dict[str, object]:
    """What a line says of an answer, but for who asked and how long it took. ``sent``: bytes."""
    return {
        "method": request.method,
        "path": request.rel_url.raw_path,  # no query and no authority: they may hold secrets
        "status": status,
        "outcome": outcome or "-",
        "bytes": sent,
        "tool": tool(request.headers.get("User-Agent", "")),
    }


def body_of(request: web.BaseRequest, response: web.StreamResponse) -> bytes:
    """The bytes of an answer that was sent as a whole."""
    if request.method == "HEAD" or not isinstance(response, web.Response):
        return b""
    return response.body if isinstance(response.body, bytes) else b""


def tool(user_agent: str) -> str:
    """The client tool and its version, the head of what pip, uv and most others send."""
    found = _TOOL.match(user_agent)
    return found[0] if found else "-"
