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
"""Connections up to which each gets more at a time: its reader is woken less often. Of many, what
they get must not be more than the processor's cache holds until it is read."""


class Sending:
    """Sends spans on the connection of a plain TCP transport, past its buffer."""

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
        transport = self._transport
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def send(self, span: Span) -> None:
        """Raises ``ConnectionError``, and ``StoreDamaged`` if the file is shorter than that."""
        at = span.start
        while at < span.stop:
            size = min(MOST if Sending._open <= FEW else PIECE, span.stop - at)
            piece = BUFFER.read(span.fd, at, size, span.content)
            if piece is not None:
                at += await self._turn(piece)
                continue
            left = memoryview(await in_thread(os.pread, span.fd, size, at))
            at += len(left)
            while left := left[await self._turn(left) :]:
                pass  # it is ours, and was too dear to be read again

    async def _turn(self, piece: memoryview) -> int:
        """How many of the bytes the socket took. ``piece`` may have changed when it returns."""
        if not piece:
            raise StoreDamaged("a file that is being sent")
        done = self._write(piece)
        self._handled.sent += done
        # A fast reader never waits, and others want the loop too.
        await (asyncio.sleep(0) if done else _writable(self._out))
        return done

    def _write(self, piece: memoryview) -> int:
        """How many of the bytes the socket took."""
        if self._transport.is_closing():
            raise ConnectionResetError
        try:
            return os.write(self._out, piece)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ConnectionResetError from error


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
