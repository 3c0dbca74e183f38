"""Pieces of open files, read without holding up the loop. What the files mean is not known here."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PIECE = 256 * 1024
"""Bytes read, written or sent in one go."""
MOST = 4 * PIECE
"""Bytes that may be sent in one go."""

_NOWAIT = getattr(os, "RWF_NOWAIT", None)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """Like ``asyncio.to_thread``, but when it returns the thread has ended, cancelled or not.

    So the caller may close or delete what the thread was working on.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def read_piece(fd: int, at: int, size: int) -> bytes:
    """Up to ``size`` bytes from offset ``at``; fewer at will, none only at the end of the file.

    What the page cache holds is read in the loop; a thread is used only where the disk is needed.
    """
    if (held := BUFFER.read(fd, at, size)) is not None:
        return bytes(held)
    return await in_thread(os.pread, fd, size, at)


class _Buffer(threading.local):
    """One for all that a thread reads: the processor's cache keeps it, no connection needs one."""

    def __init__(self) -> None:
        self._all = memoryview(bytearray(MOST))
        self._piece = self._all[:0]
        self._content: object = None
        self._at = 0

    def read(self, fd: int, at: int, size: int, content: object = None) -> memoryview | None:
        """As ``read_piece``, but valid until the next call; None where the disk is needed.

        ``content``: the same for all who read the same bytes. Of a crowd that waits for one
        download, one reads, and the others have what it has read.
        """
        if content is not None and content is self._content and at >= self._at:
            start = at - self._at
            if start + min(size, PIECE) <= len(self._piece):
                return self._piece[start : start + size]
        return self._fill(fd, at, size, content)

    def _fill(self, fd: int, at: int, size: int, content: object) -> memoryview | None:
        self._content = None
        if _NOWAIT is None:
            return None
        buffer = self._all[:size]
        try:
            self._piece = buffer[: os.preadv(fd, [buffer], at, _NOWAIT)]
        except OSError:  # not in memory, or a file system that cannot tell
            return None
        self._content, self._at = content, at
        return self._piece


BUFFER = _Buffer()
