"""In front of aiohttp's protocol: whole plain requests whose answer is finished are answered here.

Everything else goes to aiohttp unread. Only a connection that has never sent anything but
complete GET and HEAD requests without a body, one at a time, is looked at: so there is no
second opinion on where a request ends, and nothing to smuggle.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Any

from aiohttp import web

from proxy.web.connection import Connection
from proxy.web.finished import ResponseCache
from proxy.web.repeatable import CachedResponse

log = logging.getLogger(__name__)

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
