"""Pieces of open files, read without holding up the loop. What the files mean is not known here."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PIECE = 256 * 1024
"""Bytes read, written or sent in one go."""

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
    if _NOWAIT is not None:
        buffer = bytearray(size)
        try:
            got = os.preadv(fd, [buffer], at, _NOWAIT)
        except OSError:  # not in memory, or a file system that cannot tell
            pass
        else:
            return bytes(buffer) if got == size else bytes(memoryview(buffer)[:got])
    return await in_thread(os.pread, fd, size, at)
