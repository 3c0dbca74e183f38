"""Reading files without blocking the event loop, and spool files for data that is arriving.

The writer of a spool file keeps it locked. The kernel releases a lock when the process ends,
however it ends, so that unlocked spool files are those of dead processes.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

PIECE_SIZE = 256 * 1024
"""Bytes of one read, write or send."""
MAX_READ = 2 * PIECE_SIZE
"""Bytes that the read buffer holds."""

_NOWAIT = getattr(os, "RWF_NOWAIT", None)


async def in_thread(work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    """As ``asyncio.to_thread``, but returns only after the work has ended, cancelled or not.

    So the caller may close or delete the files that the work uses.
    """
    running = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


async def read_piece(fd: int, at: int, size: int) -> bytes:
    """Read at most ``size`` bytes from offset ``at``; no bytes mean the end of the file.

    Bytes in the page cache are read on the event loop; a thread is used only to read the disk.
    """
    if (found := read_buffer.read(fd, at, size)) is not None:
        return bytes(found)
    return await in_thread(os.pread, fd, size, at)


class _Buffer(threading.local):
    """One buffer for each thread, not for each connection: it stays in the processor's cache."""

    def __init__(self) -> None:
        self._all = memoryview(bytearray(MAX_READ))

    def read(self, fd: int, at: int, size: int) -> memoryview | None:
        """As ``read_piece``, but valid until the next call; None if the disk has to be read."""
        if _NOWAIT is None:
            return None
        piece = self._all[:size]
        try:
            return piece[: os.preadv(fd, [piece], at, _NOWAIT)]
        except OSError:  # not in the page cache, or the file system does not support the flag
            return None


read_buffer = _Buffer()


def is_in_page_cache(fd: int, start: int, stop: int) -> bool:
    """Whether the page cache has the first and the last of the bytes, and so likely all."""
    return (
        read_buffer.read(fd, start, 1) is not None and read_buffer.read(fd, stop - 1, 1) is not None
    )


_creating = threading.Lock()


def create_private_file(path: Path) -> None:
    """Create an empty file that this user alone may read, unless there is a file.

    A file that exists is not opened. When a process closes any descriptor of a file, the kernel
    drops all POSIX locks that the process has on the file (fcntl(2)): a database that SQLite has
    open would lose its locks, and other processes would delete its log. Raises ``OSError``.
    """
    with _creating, suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


_SPOOL_SUFFIX = ".part"


def open_spool(folder: Path) -> tuple[int, Path]:
    """Create an empty file, locked until the caller closes the descriptor.

    The folder is created if it is missing. Blocks on the disk. Raises ``OSError``.
    """
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(12)}{_SPOOL_SUFFIX}"
        try:
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        except FileNotFoundError:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            continue
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
        os.close(fd)  # a process that is just starting removes it as abandoned


def remove_abandoned(folder: Path) -> int:
    """Remove the spool files of dead processes, and return their number.

    Other processes may be writing to the same folder. Files that ``open_spool`` has not made
    stay. Blocks on the disk.
    """
    return sum(_remove_unlocked(path) for path in folder.glob(f"*{_SPOOL_SUFFIX}"))


def _remove_unlocked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # moved meanwhile
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
