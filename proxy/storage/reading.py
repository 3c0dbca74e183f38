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
"""Bytes read or written in one go."""
TURN = 512 * 1024
"""Bytes sent to one client before another has its turn; with fewer, large files go more slowly."""

_NOWAIT = getattr(os, "RWF_NOWAIT", None)
_own = threading.local()


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
    if (held := held_in_memory(fd, at, size)) is not None:
        return bytes(held)
    return await in_thread(os.pread, fd, size, at)


def held_in_memory(fd: int, at: int, size: int) -> memoryview | None:
    """As ``read_piece``, without waiting; None where the disk is needed.

    Valid until the next call in the same thread: all use one buffer, which the processor's cache
    holds by then.
    """
    if _NOWAIT is None:
        return None
    if not hasattr(_own, "buffer"):
        _own.buffer = memoryview(bytearray(TURN))
    buffer: memoryview = _own.buffer[:size]
    try:
        return buffer[: os.preadv(fd, [buffer], at, _NOWAIT)]
    except OSError:  # not in memory, or a file system that cannot tell
        return None
