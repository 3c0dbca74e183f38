"""Bytes of a file to a client's socket past the transport's buffer: as much as it takes, in turns.

To one client alone they go through one buffer, over and over. To several, the kernel sends much
of a file that nobody changes from where it lies in the page cache. On loopback one client gets as
much either way, and more steadily by the first; for 50, the second takes half the time. What is
not in memory is read by a thread.
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
"""Errors of ``sendfile`` that the client has no part in."""
_CORK: int = getattr(socket, "TCP_CORK", 0)


class FileSender:
    """Sends bytes on the connection of a plain TCP transport, past its buffer."""

    _open = 0

    def __init__(self, transport: asyncio.Transport, state: RequestState) -> None:
        """``state.sent`` grows with the bytes that the socket takes."""
        self._transport = transport
        self._state = state
        # A descriptor of our own: the transport may close its one at any time.
        self._socket = socket.socket(fileno=os.dup(transport.get_extra_info("socket").fileno()))
        self._out = self._socket.fileno()
        self._corked = False
        FileSender._open += 1

    def close(self) -> None:
        FileSender._open -= 1
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
        much = span.stop - at >= PIECE_SIZE and span.lasting and _CORK > 0
        while at < span.stop:
            alone, left = FileSender._open == 1, span.stop - at
            if much and not alone:
                done = self._splice(span.fd, at, min(MAX_READ, left))
            else:
                # For several, a copy has to stay in the processor's cache until it is taken.
                done = self._copy(span.fd, at, min(MAX_READ if alone else PIECE_SIZE, left))
            if done is None:
                done = await self._send_from_disk(span.fd, at, min(PIECE_SIZE, left))
            else:
                # A fast reader never waits, and others want the loop too.
                await (asyncio.sleep(0) if done else _writable(self._out))
            at += done

    def _copy(self, fd: int, at: int, size: int) -> int | None:
        """How many of the bytes the socket took; None where they are not in memory."""
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
        except OSError:  # a thread will find out what is wrong
            return None

    def _cork(self, *, on: bool) -> None:
        """Whether only full packets are sent; else ``sendfile`` has three times the work with
        each piece. What fills no packet then waits for more, 0.2 s or the time in which the
        client's answers come. So where little comes from upstream at a time it is not done.
        """
        if on is not self._corked:
            self._corked = on
            self._socket.setsockopt(socket.IPPROTO_TCP, _CORK, on)

    async def _send_from_disk(self, fd: int, at: int, size: int) -> int:
        """All that a thread reads, which is too dear to be read again; how much that is."""
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
        """How many of the bytes the socket took."""
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
