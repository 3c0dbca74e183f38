"""Bytes of a file to a client's socket past the transport's buffer: read and written in turns.

The socket gets what the page cache holds from one buffer, over and over. On loopback that was
measured as up to twice as fast as ``sendfile``, and it can tell when it would wait for the disk.
"""

from __future__ import annotations

import asyncio
import os

from proxy.errors import StoreDamaged
from proxy.storage.base import Span
from proxy.storage.reading import BUFFER, PIECE, in_thread
from proxy.web.access_log import Handled


class Sending:
    """Sends spans on the connection of a plain TCP transport, past its buffer."""

    def __init__(self, transport: asyncio.Transport, handled: Handled) -> None:
        """``handled`` is told of the bytes that are on their way."""
        self._transport = transport
        self._handled = handled
        # A descriptor of our own: the transport may close its one at any time.
        self._out = os.dup(transport.get_extra_info("socket").fileno())

    def close(self) -> None:
        os.close(self._out)

    async def flushed(self) -> None:
        """Wait until what was written before, the head, has left the transport."""
        transport = self._transport
        while transport.get_write_buffer_size() and not transport.is_closing():  # noqa: ASYNC110
            await asyncio.sleep(0)

    async def send(self, span: Span) -> None:
        """Raises ``ConnectionError``, and ``StoreDamaged`` if the file is shorter than that."""
        at = span.start
        while at < span.stop:
            size = min(PIECE, span.stop - at)
            if (piece := BUFFER.read(span.fd, at, size, span.content)) is None:
                piece = memoryview(await in_thread(os.pread, span.fd, size, at))
            if not piece:
                raise StoreDamaged("a file that is being sent")
            done = self._write(piece)
            at += done
            self._handled.sent += done
            # A fast reader never waits, and others want the loop too.
            await (asyncio.sleep(0) if done else _writable(self._out))

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
