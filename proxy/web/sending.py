"""Bytes of a file to a client's socket past the transport's buffer: read and written in turns.

The socket gets from one buffer, over and over, what the page cache holds. On loopback that is
twice as fast as ``sendfile``, which hands the page cache's own small pages to the socket.
"""

from __future__ import annotations

import asyncio
import os

from proxy.errors import StoreDamaged
from proxy.storage.base import Span
from proxy.storage.reading import TURN, held_in_memory, in_thread
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
            done = await self._send(span.fd, at, min(TURN, span.stop - at))
            at += done
            self._handled.sent += done
            await asyncio.sleep(0)  # a fast reader never waits, others want the loop too

    async def _send(self, fd: int, at: int, size: int) -> int:
        """How many of the bytes the socket took, at least one."""
        while not self._transport.is_closing():
            if (piece := held_in_memory(fd, at, size)) is None:
                piece = memoryview(await in_thread(os.pread, fd, size, at))
            if not piece:
                raise StoreDamaged("a file that is being sent")
            try:
                return os.write(self._out, piece)
            except BlockingIOError:
                await _writable(self._out)
            except OSError as error:
                raise ConnectionResetError from error
        raise ConnectionResetError


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
