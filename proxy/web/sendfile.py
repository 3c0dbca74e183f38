"""Sends a file to a client's socket, past the buffer of the transport.

Each turn of the event loop sends as much as the socket takes. With one client, the bytes are
copied through one buffer that is used again and again. With several, the kernel sends large parts
of immutable files from the page cache (``sendfile``). On loopback both are equally fast for one
client, and copying more steadily; for 50 clients ``sendfile`` takes half the time. Bytes that are
not in memory are read by a thread.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable

from proxy.errors import StoreDamaged
from proxy.model import Span
from proxy.runtime import MAX_READ, PIECE_SIZE, in_thread, is_in_page_cache, read_buffer
from proxy.web.request_state import RequestState

_OF_THE_FILE = (errno.EIO, errno.EINVAL)
"""Errors of ``sendfile`` that the file causes, and not the client."""
_CORK: int = getattr(socket, "TCP_CORK", 0)


class FileSender:
    """Sends bytes on the connection of a plain TCP transport, past its buffer."""

    _open = 0

    def __init__(self, transport: asyncio.Transport, state: RequestState) -> None:
        """``state.sent`` grows with the bytes that the socket takes."""
        self._transport = transport
        self._state = state
        # A duplicate, as the transport may close its descriptor at any time.
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._out = self._socket.fileno()
        self._corked = False
        FileSender._open += 1

    def close(self) -> None:
        FileSender._open -= 1
        self._cork(on=False)
        self._socket.close()

    async def flushed(self) -> None:
        """Wait until the head, which was written before, has left the transport."""
        if self._waits():
            await asyncio.sleep(0)  # the loop sends what the socket takes
        while self._waits():
            await _writable(self._out)  # a slow client has not read former answers

    def _waits(self) -> bool:
        transport = self._transport
        return transport.get_write_buffer_size() > 0 and not transport.is_closing()

    async def send(self, span: Span) -> None:
        """Bytes in a file. Raises ``ConnectionError``, and ``StoreDamaged`` if it has fewer."""
        at = span.start
        much = span.stop - at >= PIECE_SIZE and span.lasting and _CORK > 0
        while at < span.stop:
            alone, left = FileSender._open == 1, span.stop - at
            if much and not alone:
                done = self._splice(span.fd, at, min(MAX_READ, left))
            else:
                # With several clients, a copy must stay in the processor's cache until it is sent.
                done = self._copy(span.fd, at, min(MAX_READ if alone else PIECE_SIZE, left))
            if done is None:
                done = await self._send_from_disk(span.fd, at, min(PIECE_SIZE, left))
            else:
                # A fast reader never waits, but other clients need turns of the loop, too.
                await (asyncio.sleep(0) if done else _writable(self._out))
            at += done

    def _copy(self, fd: int, at: int, size: int) -> int | None:
        """How many bytes the socket took; None if they are not in memory."""
        self._cork(on=False)
        piece = read_buffer.read(fd, at, size)
        return None if piece is None else self._give(os.write, piece)

    def _splice(self, fd: int, at: int, size: int) -> int | None:
        """As ``_copy``, without a copy."""
        if not is_in_page_cache(fd, at, at + size):
            return None
        self._cork(on=True)
        try:
            return self._give(os.sendfile, fd, at, size)
        except ConnectionError:
            raise
        except OSError:  # the thread that reads the bytes will report the fault
            return None

    def _cork(self, *, on: bool) -> None:
        """Send only full packets: without that ``sendfile`` takes three times as long.

        A packet that is not full then waits for more bytes, for up to 0.2 seconds. So this is
        off for small pieces, as they come from upstream.
        """
        if on is not self._corked:
            self._corked = on
            self._socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    async def _send_from_disk(self, fd: int, at: int, size: int) -> int:
        """Send all that a thread reads, since reading again is expensive; how many bytes."""
        piece = await in_thread(os.pread, fd, size, at)
        await self.send_bytes(piece)
        return len(piece)

    async def send_bytes(self, piece: bytes) -> None:
        """Raises ``ConnectionError``."""
        self._cork(on=False)
        left = memoryview(piece)
        while left := left[(done := self._give(os.write, left)) :]:
            await (asyncio.sleep(0) if done else _writable(self._out))

    def _give(self, send: Callable[..., int], *what: object) -> int:
        """How many bytes the socket took."""
        if self._transport.is_closing():
            raise ConnectionResetError
        try:
            taken = send(self._out, *what)
        except BlockingIOError:
            return 0
        except OSError as error:
            if error.errno in _OF_THE_FILE:
                raise
            raise ConnectionResetError from error
        if not taken:
            raise StoreDamaged("a file that is being sent")
        self._state.sent += taken
        return taken


def can_send(transport: asyncio.BaseTransport | None) -> bool:
    """Whether bytes may bypass the transport: not if it encrypts them."""
    return (
        transport is not None
        and transport.get_extra_info("socket") is not None
        and transport.get_extra_info("sslcontext") is None
    )


async def _writable(out: int) -> None:
    """Wait until the socket takes bytes; the kernel closes a connection that takes none."""
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
