"""Bytes of a file to a client's socket past the transport's buffer: as much as it takes, in turns.

To one client alone they go through one buffer, over and over; to several, the kernel sends them
from where they lie in its page cache. On loopback the one is as fast as the other at best, and
steadier, as long as there is one client; with 50, the other takes half the time. Both can tell
when they would wait for the disk.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable
from contextlib import suppress

from proxy.errors import StoreDamaged
from proxy.storage.base import Span
from proxy.storage.reading import BUFFER, MOST, PIECE, in_memory, in_thread
from proxy.web.access_log import Handled

_CORK: int | None = getattr(socket, "TCP_CORK", None)


class Sending:
    """Sends bytes on the connection of a plain TCP transport, past its buffer."""

    _open = 0

    def __init__(self, transport: asyncio.Transport, handled: Handled) -> None:
        """``handled`` is told of the bytes that are on their way."""
        self._transport = transport
        self._handled = handled
        # A descriptor of our own: the transport may close its one at any time.
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._out = self._socket.fileno()
        self._corked = False
        Sending._open += 1

    def close(self) -> None:
        Sending._open -= 1
        with suppress(OSError):  # the connection may be no more
            self._cork(on=False)
        self._socket.close()

    async def flushed(self) -> None:
        """Wait until what was written before, the head, has left the transport."""
        if self._waits():
            await asyncio.sleep(0)  # in which the loop sends what the socket takes
        while self._waits():
            await _writable(self._out)  # others may be before it that a slow client has not read

    def _waits(self) -> bool:
        transport = self._transport
        return transport.get_write_buffer_size() > 0 and not transport.is_closing()

    async def send(self, span: Span) -> None:
        """Bytes in a file. Raises ``ConnectionError``, and ``StoreDamaged`` if it has fewer."""
        at = span.start
        while at < span.stop:
            alone = Sending._open == 1
            splice = not alone and span.lasting and _CORK is not None
            # What is copied for several has to stay in the processor's cache until it is taken.
            size = min(MOST if alone or splice else PIECE, span.stop - at)
            done = (self._splice if splice else self._copy)(span.fd, at, size)
            if done is None:
                done = await self._send_from_disk(span.fd, at, size)
            else:
                # A fast reader never waits, and others want the loop too.
                await (asyncio.sleep(0) if done else _writable(self._out))
            at += done

    def _copy(self, fd: int, at: int, size: int) -> int | None:
        """How many of the bytes the socket took; None where they are not in memory."""
        piece = BUFFER.read(fd, at, size)
        return None if piece is None else self._give(os.write, piece)

    def _splice(self, fd: int, at: int, size: int) -> int | None:
        """As ``_copy``, without a copy."""
        if not in_memory(fd, at, at + size):
            return None
        self._cork(on=True)
        return self._give(os.sendfile, fd, at, size)

    def _cork(self, *, on: bool) -> None:
        """Whether only full packets are sent. Without, ``sendfile`` sends one for each 64 kB that
        it takes, and wakes the client for each: three times the work. The kernel holds back
        what fills no packet for 0.2 s at most.
        """
        if _CORK is not None and on is not self._corked:
            self._corked = on
            self._socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    async def _send_from_disk(self, fd: int, at: int, size: int) -> int:
        """All that a thread reads, which is too dear to be read again; how much that is."""
        piece = await in_thread(os.pread, fd, size, at)
        await self.send_bytes(piece)
        return len(piece)

    async def send_bytes(self, piece: bytes) -> None:
        """Raises ``ConnectionError``."""
        left = memoryview(piece)
        while left := left[(done := self._give(os.write, left)) :]:
            await (asyncio.sleep(0) if done else _writable(self._out))

    def _give(self, send: Callable[..., int], *what: object) -> int:
        """How many of the bytes the socket took."""
        if self._transport.is_closing():
            raise ConnectionResetError
        try:
            taken = send(self._out, *what)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionResetError from error
        if not taken:
            raise StoreDamaged("a file that is being sent")
        self._handled.sent += taken
        return taken


def can_send(transport: asyncio.BaseTransport | None) -> bool:
    """Whether bytes may go past the transport: not where it encrypts them."""
    return (
        transport is not None
        and transport.get_extra_info("socket") is not None
        and transport.get_extra_info("sslcontext") is None
    )


async def _writable(out: int) -> None:
    """Wait for the client; the kernel ends the connection of one that takes nothing."""
    loop = asyncio.get_running_loop()
    ready: asyncio.Future[None] = loop.create_future()
    loop.add_writer(out, _set, ready)
    try:
        await ready
    finally:
        loop.remove_writer(out)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)
