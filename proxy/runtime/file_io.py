"""Pieces of open files, read without holding up the loop. What the files mean is not known here.

Files that are not finished, and the removal of those whose writer has died.

Each is locked by its writer: the kernel drops a lock with the process, however it ends, and
a reused process number cannot pretend to hold it.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PIECE_SIZE = 256 * 1024
"""Bytes read, written or sent in one go."""
MAX_READ = 2 * PIECE_SIZE
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
    if (held := read_buffer.read(fd, at, size)) is not None:
        return bytes(held)
    return await in_thread(os.pread, fd, size, at)


class _Buffer(threading.local):
    """One for all that a thread reads: the processor's cache keeps it, no connection needs one."""

    def __init__(self) -> None:
        self._all = memoryview(bytearray(MAX_READ))

    def read(self, fd: int, at: int, size: int) -> memoryview | None:
        """As ``read_piece``, but valid until the next call; None where the disk is needed."""
        if _NOWAIT is None:
            return None
        piece = self._all[:size]
        try:
            return piece[: os.preadv(fd, [piece], at, _NOWAIT)]
        except OSError:  # not in memory, or a file system that cannot tell
            return None


read_buffer = _Buffer()


def in_memory(fd: int, start: int, stop: int) -> bool:
    """Whether the page cache holds the bytes, as far as the first and the last of them tell."""
    return (
        read_buffer.read(fd, start, 1) is not None and read_buffer.read(fd, stop - 1, 1) is not None
    )


_SUFFIX = ".part"


def open_spool(folder: Path) -> tuple[int, Path]:
    """A new empty file and its descriptor, which the caller closes; until then it is locked.

    The folder is made if need be. Blocks on the disk. Raises ``OSError``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(12)}{_SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return fd, path
        except BlockingIOError:
            pass
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(fd)  # a process that has just started took it for a leftover


def remove_abandoned(folder: Path) -> int:
    """Remove the unfinished files of dead processes; how many those were.

    Other processes may be writing to the same folder. What was not made by ``open_spool``
    stays. Blocks on the disk.
    """
    return sum(_remove_unlocked(path) for path in folder.glob(f"*{_SUFFIX}"))


def _remove_unlocked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # finished meanwhile
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:  # still being written, or not ours to remove
        return False
    else:
        return True
    finally:
        os.close(fd)
