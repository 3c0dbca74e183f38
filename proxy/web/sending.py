"""Bytes of a file to a client's socket past the transport's buffer: read and written in turns.

The socket gets what the page cache holds from one buffer, over and over. On loopback that was
measured as up to twice as fast as ``sendfile``, and it can tell when it would wait for the disk.
"""

from __future__ import annotations

import asyncio
import os

from proxy.errors import StoreDamaged
from proxy.storage.base import Span
from proxy.storage.reading import BUFFER, MOST, PIECE, in_thread
from proxy.web.access_log import Handled

FEW = 8
"""Connections up to which each gets more at a time: its reader is woken less often."""


class Sending:
    """Sends bytes on the connection of a plain TCP transport, past its buffer."""

    _open = 0

    def __init__(self, transport: asyncio.Transport, handled: Handled) -> None:
        """``handled`` is told of the bytes that are on their way."""
        self._transport = transport
        self._handled = handled
        # A descriptor of our own: the transport may close its one at any time.
        self._out = os.dup(transport.get_extra_info("socket").fileno())
        Sending._open += 1

    def close(self) -> None:
        os.close(self._out)
        Sending._open -= 1

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
            size = min(self._most(span), span.stop - at)
            piece = BUFFER.read(span.fd, at, size, span.content)
            if piece is None:
                at += await self._send_from_disk(span.fd, at, size)
                continue
            at += (done := self._write(piece))
            # A fast reader never waits, and others want the loop too.
            await (asyncio.sleep(0) if done else _writable(self._out))

    @staticmethod
    def _most(span: Span) -> int:
        """Bytes to be sent in one go. More wakes the client less often, but what is read for one
        client alone has to stay in the processor's cache until the kernel has taken it.
        """
        if span.content is not None:
            return MOST
        return 2 * PIECE if Sending._open <= FEW else PIECE

    async def _send_from_disk(self, fd: int, at: int, size: int) -> int:
        """All that a thread reads, which is too dear to be read again; how much that is."""
        piece = await in_thread(os.pread, fd, size, at)
        await self.send_bytes(piece)
        return len(piece)

    async def send_bytes(self, piece: bytes) -> None:
        """Raises ``ConnectionError``."""
        left = memoryview(piece)
        while left := left[(done := self._write(left)) :]:
            await (asyncio.sleep(0) if done else _writable(self._out))

    def _write(self, piece: memoryview) -> int:
        """How many of the bytes the socket took."""
        if not piece:
            raise StoreDamaged("a file that is being sent")
        if self._transport.is_closing():
            raise ConnectionResetError
        try:
            done = os.write(self._out, piece)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionResetError from error
        self._handled.sent += done
        return done


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
