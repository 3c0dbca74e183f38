"""What takes over a connection that was accepted. Which ones are accepted is up to ``server``.

In front of aiohttp's protocol: whole plain requests whose answer is finished are answered here.

Everything else goes to aiohttp unread. Only a connection that has never sent anything but
complete GET and HEAD requests without a body, one at a time, is looked at: so there is no
second opinion on where a request ends, and nothing to smuggle.
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

from proxy.web.access_log import Handled, body_of, write_line
from proxy.web.errors import INTERNAL_ERROR, RETRY_AFTER, plain
from proxy.web.response_cache import CachedResponse, ResponseCache

log = logging.getLogger(__name__)

MAX_TARGET = 8191
"""Bytes of a request's target; not the limit of header lines, 8190, so errors tell which it was."""

PROBE_AFTER = 20
"""Seconds after which the kernel asks whether a client that sends no more is still there."""

_RESET = struct.pack("ii", 1, 0)
_TOO_MANY_CONNECTIONS = (
    b"HTTP/1.1 503 Service Unavailable\r\nServer: waystation\r\nRetry-After: %d\r\n"
    b"Cache-Control: no-store\r\nContent-Type: text/plain; charset=utf-8\r\n"
    b"Content-Length: 21\r\nConnection: close\r\n\r\ntoo many connections\n" % RETRY_AFTER
)


class Connection(RequestHandler):
    """aiohttp's protocol, but for what it says to clients that do not speak HTTP."""

    __slots__ = ()

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """The client sends no more. An answer that is under way is sent before we close, too.

        A client that is gone altogether looks the same until something is sent to it; the kernel
        finds out where there is nothing to send. TLS has no such half of a connection.
        """
        waiter, transport = self._waiter, self.transport
        busy = self._messages or (self._request_count if waiter is None else waiter.done())
        if not busy or transport is None or transport.get_extra_info("sslcontext"):
            return None
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
        """Called for what no handler has seen, or has ended: echoes nothing, logs one line."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status == 400 or isinstance(exc, UnicodeError):  # aiohttp echoes what is no UTF-8
            status, text = _refusal(exc)
            response = plain(status, text)
        else:
            log.error("request failed", exc_info=exc)
            response = plain(500, INTERNAL_ERROR)
        response.force_close()
        handled = Handled()
        handled.status, handled.trouble = status, type(exc).__name__
        handled.sent = len(body_of(request, response))
        write_line(request, handled)
        return response


def _refusal(error: BaseException | None) -> tuple[int, str]:
    """What a request that cannot be parsed is answered (RFC 9112, 3; RFC 6585, 5)."""
    if isinstance(error, LineTooLong):
        if error.args[1] == MAX_TARGET:
            return 414, "the address is too long"
        return 431, "a header line is too long"
    if "Too many headers" in str(error):
        return 431, "there are too many header lines"
    return 400, "that is not a well-formed request"


class TooManyConnections(asyncio.Protocol):
    """Says that there are too many connections, and reads nothing."""

    LINGER = 2.0
    """Seconds until it is closed from here. At once, while the request is on its way, would
    reset it, and the client might not see the answer."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast(asyncio.Transport, transport).write(_TOO_MANY_CONNECTIONS)
        asyncio.get_running_loop().call_later(self.LINGER, transport.close)


def reset_connection(transport: asyncio.BaseTransport | None) -> None:
    """Reset the connection, so that what was sent cannot look whole.

    Closing is not enough: for an answer without a length, as HTTP/1.0 has it, the end of the
    connection is the end of the answer.
    """
    if transport is None:
        return
    if (sock := transport.get_extra_info("socket")) is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    cast(asyncio.Transport, transport).abort()


MAX_JOINED = 4096
"""Bytes up to which head and body are joined: to copy more costs more than to send two pieces."""
_NEEDED = (
    "_close",
    "_force_close",
    "_keepalive_timeout",
    "_messages",
    "_next_keepalive_close_time",
    "_request_count",
    "_waiter",
)

OnHit = Callable[["FastProtocol", CachedResponse, float], None]
"""Told of each answer given here, with the moment by ``time.perf_counter`` at which it came."""


class FastProtocol(Connection):
    """aiohttp's protocol, asked second."""

    __slots__ = ("_clean", "_finished", "_on_hit", "client", "request_bytes")

    def __init__(
        self, finished: ResponseCache, on_hit: OnHit, *arguments: Any, **options: Any
    ) -> None:
        super().__init__(*arguments, **options)
        self._finished = finished
        self._on_hit = on_hit
        self._clean = True
        self.client = "-"
        """The address of who is connected."""
        self.request_bytes: bytes | None = None
        """Of the request that is being handled, if an answer to it may be kept."""

    def data_received(self, data: bytes) -> None:
        if self._clean:
            idle = self._is_idle()
            if idle and not self._paused and (found := self._finished.find(data)):
                self._answer(found)
                return
            self._clean = is_plain(data)
            self.request_bytes = data if idle and self._clean else None
        super().data_received(data)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.client = self.peername[0] if isinstance(self.peername, tuple) else "-"

    def _is_idle(self) -> bool:
        """No request waits or is being handled."""
        if self._messages or self._close or self._force_close:
            return False
        waiter = self._waiter
        return self._request_count == 0 if waiter is None else not waiter.done()

    def _answer(self, finished: CachedResponse) -> None:
        started = time.perf_counter()
        transport = self.transport
        assert transport is not None
        head = finished.head(self._finished.clock())
        body = finished.body
        if len(body) <= MAX_JOINED:
            transport.write(head + body)
        else:
            transport.writelines((head, body))
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        self._on_hit(self, finished, started)


def is_plain(data: bytes) -> bool:
    """Whether these bytes are exactly one request that has no body and keeps the connection."""
    if not data.startswith((b"GET /", b"HEAD /")) or not data.endswith(b"\r\n\r\n"):
        return False
    if data.count(b"\r\n\r\n") != 1 or data.count(b"\n") != data.count(b"\r\n"):
        return False
    lower = data.lower()
    if b" http/1.1\r\n" not in lower or any(name in lower for name in _NOT_PLAIN):
        return False
    return lower.count(b"\r\nconnection") == lower.count(b"\r\nconnection: keep-alive\r\n")


_NOT_PLAIN = (b"\r\ncontent-length", b"\r\ntransfer-encoding", b"\r\nexpect", b"\r\nupgrade")


def factory(
    server: web.Server, options: dict[str, Any], finished: ResponseCache | None, on_hit: OnHit
) -> Callable[[], asyncio.Protocol]:
    """Makes a protocol per connection; without fast answers where aiohttp has changed inside."""
    loop = asyncio.get_running_loop()
    probe = Connection(server, loop=loop, **options)
    missing = [name for name in _NEEDED if not hasattr(probe, name)]
    if missing or finished is None:
        if missing:
            log.warning("aiohttp has changed (%s): no fast answers", ", ".join(missing))
        return lambda: Connection(server, loop=loop, **options)
    return lambda: FastProtocol(finished, on_hit, server, loop=loop, **options)
