"""The fast path: answers a complete plain request from the response cache before aiohttp parses it.

Everything else goes to aiohttp unread. Only a connection that has sent nothing but complete GET
and HEAD requests without a body, one at a time, may use the fast path: so two parsers never
disagree on where a request ends, and no request can be smuggled.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import struct
import time
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from proxy.events import AnswerServed, Observer, RequestKind
from proxy.web.errors import INTERNAL_ERROR, RETRY_AFTER, plain
from proxy.web.request_state import body_of
from proxy.web.response_cache import CachedResponse, ResponseCache

log = logging.getLogger(__name__)

MAX_TARGET = 8191
"""Bytes of a request's target. One more than the limit of header lines, to tell errors apart."""

PROBE_AFTER = 20
"""Seconds after which the kernel checks whether a silent client is still connected."""

_RESET = struct.pack("ii", 1, 0)
_TOO_MANY_CONNECTIONS = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: waystation\r\nRetry-After: %d\r\n"
    b"Cache-Control: no-store\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n" % RETRY_AFTER
)


class Connection(RequestHandler):
    """aiohttp's protocol, with other answers to requests that it cannot parse."""

    __slots__ = ("_event_sink",)

    def __init__(self, events: Observer, *arguments: Any, **options: Any) -> None:
        """``events`` gets ``AnswerServed`` for requests that reach no handler."""
        super().__init__(*arguments, **options)
        self._event_sink = events

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client has closed its side. A running answer is completed before the connection
        closes.

        A client that has disappeared looks the same until something is sent to it; while there is
        nothing to send, the kernel's probes detect that. TLS has no half-closed connections.
        """
        waiter, transport = self._waiter, self.transport
        busy = self._messages or (self._request_count if waiter is None else waiter.done())
        if not busy or transport is None or transport.get_extra_info("sslcontext"):
            return None
        current = self._current_request
        if current is not None and not current.content.is_eof():
            return None  # the rest of its body, an upload, can never come
        if (sock := transport.get_extra_info("socket")) and hasattr(socket, "TCP_KEEPIDLE"):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, PROBE_AFTER)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, PROBE_AFTER)
        if not self._messages:
            self.close()  # once the answer has been sent
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that no handler has seen or completed; echo nothing of it."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == 400 or isinstance(exc, UnicodeError):  # aiohttp echoes what is no UTF-8
            status, text = _refusal(exc)
            response = plain(status, text)
        else:
            log.error("request failed", exc_info=exc)
            response = plain(500, INTERNAL_ERROR)
        response.force_close()
        self._event_sink(
            AnswerServed(
                client=request.remote or "-",
                user_agent=request.headers.get("User-Agent", ""),
                method=request.method,
                path=request.rel_url.raw_path,
                kind=RequestKind.OTHER,
                status=status,
                sent=len(body_of(request.method, response)),
                failure=type(exc).__name__,
                timings=((time.time(), 0.0),),
            )
        )
        return response


def _refusal(error: BaseException | None) -> tuple[int, str]:
    """Status and text for a request that cannot be parsed (RFC 9112, 3; RFC 6585, 5)."""
    if isinstance(error, LineTooLong):
        if error.args[1] == MAX_TARGET:
            return 414, "the address is too long"
        return 431, "a header line is too long"
    if "Too many headers" in str(error):
        return 431, "there are too many header lines"
    return 400, "that is not a well-formed request"


class TooManyConnections(asyncio.Protocol):
    """Answers that there are too many connections, and reads nothing."""

    LINGER = 2.0
    """Seconds until the connection is closed from here. Closing at once, while the request is
    still arriving, would reset the connection, and the client might not see the answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(_TOO_MANY_CONNECTIONS)
        asyncio.get_running_loop().call_later(self.LINGER, transport.close)


def reset_connection(transport: asyncio.BaseTransport | None) -> None:
    """Reset the connection, so that an incomplete answer cannot look complete.

    Closing is not enough: where an answer has no length, as in HTTP/1.0, the end of the
    connection is the end of the answer.
    """
    if transport is None:
        return
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    cast(asyncio.Transport, transport).abort()


MAX_JOINED = 4096
"""Bytes of a body that is joined with its head: copying more costs more than two pieces."""
_NEEDED = (
    "_close",
    "_force_close",
    "_keepalive_timeout",
    "_messages",
    "_next_keepalive_close_time",
    "_request_count",
    "_waiter",
)

OnHit = Callable[[CachedResponse, str, float, float, str | None], None]
"""Gets each response that was sent, the address of its client, the Unix times in seconds at which
its request came and it was sent, and the principal of the request."""


class FastProtocol(Connection):
    """Looks in the response cache first, and passes what it does not find there to aiohttp."""

    __slots__ = (
        *("_client", "_clock", "_find", "_on_hit", "_only_plain", "_principal"),
        "request_bytes",
    )

    def __init__(
        self, cache: ResponseCache, on_hit: OnHit, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._find = cache.find
        self._clock = cache.clock
        self._on_hit = on_hit
        self._only_plain = True
        self._client = "-"
        self._principal: str | None = None
        """Of the request that is answered."""
        self.request_bytes: bytes | None = None
        """The complete request that is being handled, if a response to it may be cached."""

    def data_received(self, data: bytes) -> None:
        if self._only_plain:
            idle = self._is_idle()
            if idle and not self._paused:
                now = self._clock()
                if (found := self._find(data, now)) is not None:
                    self._answer(found, now)
                    return
            self._only_plain = is_plain(data)
            self.request_bytes = data if idle and self._only_plain else None
        super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self._client = self.peername[0] if isinstance(self.peername, tuple) else "-"

    def _is_idle(self) -> bool:
        """Whether no request waits or is being handled."""
        if self._messages or self._close or self._force_close:
            return False
        waiter = self._waiter
        return self._request_count == 0 if waiter is None else not waiter.done()

    def _answer(self, response: CachedResponse, now: float) -> None:
        transport = self.transport
        assert transport is not None
        head = response.head(now)
        body = response.body
        if len(body) <= MAX_JOINED:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._on_hit(response, self._client, now, self._clock(), self._principal)


def is_plain(data: bytes) -> bool:
    """Whether these bytes are exactly one request, without a body, that keeps the connection."""
    if not data.startswith((b"GET /", b"HEAD /")) or not data.endswith(b"\r\n\r\n"):
        return False
    if data.count(b"\r\n\r\n") != 1 or data.count(b"\n") != data.count(b"\r\n"):
        return False
    lower = data.lower()
    if b" http/1.1\r\n" not in lower or any(name in lower for name in _NOT_PLAIN):
        return False
    return lower.count(b"\r\nconnection") == lower.count(b"\r\nconnection: keep-alive\r\n")


_NOT_PLAIN = (b"\r\ncontent-length", b"\r\ntransfer-encoding", b"\r\nexpect", b"\r\nupgrade")


def protocol_factory(
    server: web.Server,
    events: Observer,
    fast: Callable[..., FastProtocol] | None,
    options: dict[str, Any],
    max_connections: int,
) -> Callable[[], asyncio.Protocol]:
    """Makes the protocol of each connection. ``fast`` makes one with a fast path, which is left
    out if aiohttp has changed inside.
    """
    loop = asyncio.get_running_loop()
    probe = Connection(events, server, loop=loop, **options)
    missing = [name for name in _NEEDED if not hasattr(probe, name)]
    if missing:
        log.warning("this aiohttp has no %s: there is no fast path", ", ".join(missing))

    def make() -> asyncio.Protocol:
        if len(server.connections) >= max_connections:
            return TooManyConnections()
        if missing or fast is None:
            return Connection(events, server, loop=loop, **options)
        return fast(events, server, loop=loop, **options)

    return make
