"""Bytes of a file to a client's socket without passing through Python (``sendfile``).

uvloop has no sendfile of its own, and reading pieces to write them costs half as much again.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable

from proxy.storage.base import Span
from proxy.storage.reading import PIECE, in_thread

_NOWAIT = getattr(os, "RWF_NOWAIT", None)


class SocketSender:
    """Sends spans on the connection of a plain TCP transport, past its buffer."""

    def __init__(self, transport: asyncio.Transport, patience: float) -> None:
        """``patience``: seconds in which the client has to take something."""
        self._transport = transport
        self._patience = patience
        # A descriptor of our own: the transport may close its one at any time.
        self._fd = os.dup(transport.get_extra_info("socket").fileno())

    def close(self) -> None:
        os.close(self._fd)

    async def send(self, span: Span, sent: Callable[[int], None]) -> None:
        """``sent`` is told of bytes that are on their way.

        Raises ``TimeoutError``, ``ConnectionError``, and ``OSError`` if the file is too short.
        """
        await self._flushed()
        at = span.start
        while at < span.stop:
            size = min(PIECE, span.stop - at)
            await _in_memory(span.fd, at, size)
            if self._transport.is_closing():
                raise ConnectionResetError
            try:
                done = os.sendfile(self._fd, span.fd, at, size)
            except BlockingIOError:
                await self._writable()
                continue
            if not done:
                raise OSError("the file has become shorter")
            at += done
            sent(done)
            await asyncio.sleep(0)  # a fast reader never waits, others want the loop too

    async def _flushed(self) -> None:
        """Wait until what was written before, the head, has left the transport."""
        async with asyncio.timeout(self._patience):
            while self._transport.get_write_buffer_size() and not self._transport.is_closing():
                await asyncio.sleep(0)

    async def _writable(self) -> None:
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        loop.add_writer(self._fd, _set, ready)
        try:
            async with asyncio.timeout(self._patience):
                await ready
        finally:
            loop.remove_writer(self._fd)


def _set(ready: asyncio.Future[None]) -> None:
    if not ready.done():
        ready.set_result(None)


def can_send(transport: asyncio.BaseTransport | None) -> bool:
    """Whether bytes may go past the transport: not where it encrypts them."""
    return (
        hasattr(os, "sendfile")
        and transport is not None
        and transport.get_extra_info("socket") is not None
        and transport.get_extra_info("sslcontext") is None
    )


async def _in_memory(fd: int, at: int, size: int) -> None:
    """Let a thread wait for the disk if the page cache does not hold these bytes."""
    if _NOWAIT is None:
        return
    try:
        os.preadv(fd, [bytearray(1)], at + size - 1, _NOWAIT)
    except BlockingIOError:
        await in_thread(os.pread, fd, size, at)
    except OSError:  # a file system that cannot tell
        return
