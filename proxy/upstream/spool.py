"""The bytes of one download while it arrives: in memory while they are few, else in a file."""

from __future__ import annotations

import errno
import logging
import os
import weakref
from collections import deque
from contextlib import suppress
from pathlib import Path

from proxy.errors import reason
from proxy.runtime import PIECE_SIZE, in_thread, open_spool, read_piece
from proxy.upstream.digest_check import DigestCheck

log = logging.getLogger(__name__)

IN_MEMORY = 256 * 1024
"""Bytes of a download that are kept in memory: a file of that size is written once, verified."""
SMALL_WRITE = 64 * 1024
"""Bytes that are hashed and written on the event loop: a thread would cost more than it saves."""


class Spool:
    """A file that is read while it is written, by any number of readers, each by offset.

    The file has its name until it is removed or moved into a store; it can be read for as long
    as the spool is referenced.
    """

    def __init__(self, folder: Path) -> None:
        """``open`` makes the file, or the first write."""
        self._folder = folder
        self._path: Path | None = None
        self._close: weakref.finalize[[int], Spool] | None = None
        self._removed = False
        self.fd = -1
        self.written = 0

    @property
    def path(self) -> Path:
        assert self._path is not None
        return self._path

    def write(self, data: bytes) -> None:
        """Append. Blocks on the disk. After an ``OSError`` ``written`` is what it was before."""
        self.open()
        rest, at = memoryview(data), self.written
        while rest:
            done = os.pwrite(self.fd, rest, at)
            rest, at = rest[done:], at + done
        self.written = at

    def open(self) -> None:
        """Make the file, if there is none yet. Blocks on the disk. Raises ``OSError``."""
        if self._path is not None:
            return
        self.fd, self._path = open_spool(self._folder)
        if self._removed:  # while a thread was making it
            self.remove()
        self._close = weakref.finalize(self, os.close, self.fd)

    def restart(self) -> None:
        """Forget what was written, also of a spool that was closed. Blocks on the disk."""
        if self._close is not None and self._close.alive:
            os.ftruncate(self.fd, 0)
        else:
            self._path, self._removed = None, False
        self.written = 0

    async def read(self, at: int, size: int) -> bytes:
        """Some of the bytes from ``at`` on, at least one where there are any."""
        return await read_piece(self.fd, at, min(size, PIECE_SIZE))

    def remove(self) -> None:
        """Remove the name of the file, unless it was moved; readers can go on."""
        self._removed = True
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Free the disk space at once; nothing can be read any more."""
        self.remove()
        if self._close is not None:
            self._close()


class Window:
    """The newest bytes of a download, in bounded memory."""

    def __init__(self, base: int, limit: int) -> None:
        self.base = base
        """Offset of the first byte that is still here."""
        self.end = base
        self._limit = limit
        self._pieces: deque[bytes] = deque()

    @property
    def full(self) -> bool:
        return self.end - self.base >= self._limit

    def append(self, data: bytes) -> None:
        self._pieces.append(data)
        self.end += len(data)

    def forget(self, before: int) -> None:
        """Drop the pieces that end at or before that offset."""
        while self._pieces and self.base + len(self._pieces[0]) <= before:
            self.base += len(self._pieces.popleft())

    def read(self, at: int, size: int) -> bytes:
        """Some of the bytes from ``at`` on, at least one if they are here."""
        start = self.base
        for piece in self._pieces:
            if start <= at < start + len(piece):
                return piece[at - start : at - start + size]
            start += len(piece)
        return b""


class Buffer:
    """All bytes of one download.

    Few are in memory, more in a spool, continued by a window once the disk refuses bytes.
    """

    def __init__(self, spool: Spool, *, window: int, in_memory: bool) -> None:
        """``window``: bytes of the window. ``in_memory``: the first bytes are kept in memory."""
        self.spool = spool
        self.window: Window | None = None
        self.small: bytearray | None = bytearray() if in_memory else None
        """All bytes, until they are too many."""
        self._limit = window

    @property
    def end(self) -> int:
        """Offset after the last byte."""
        if (small := self.small) is not None:
            return len(small)
        return self.spool.written if self.window is None else self.window.end

    @property
    def is_complete(self) -> bool:
        """Whether no byte has been forgotten yet."""
        return self.window is None or self.window.base == self.spool.written

    async def read(self, at: int, size: int) -> bytes:
        """Some of the bytes from ``at`` on; empty if they are lost."""
        if (small := self.small) is not None:  # a thread may be moving it
            return bytes(memoryview(small)[at : at + size])
        if self.window is not None and at >= self.spool.written:
            return self.window.read(at, size)
        try:
            return await self.spool.read(at, min(size, self.spool.written - at))
        except OSError:
            return b""

    async def make_file(self) -> None:
        """Make the file early. An error is left to the first write, which has it too."""
        with suppress(OSError):
            await in_thread(self.spool.open)

    def move_to_file(self, data: bytes = b"") -> None:
        """Write what is in memory, and the new bytes after it. Blocks. Raises ``OSError``."""
        self.spool.write(data if self.small is None else bytes(self.small) + data)
        self.small = None

    async def restart(self) -> None:
        """Forget what has been written."""
        if self.small is not None:
            self.small = bytearray()
        elif self.spool.written:
            await in_thread(self.spool.restart)

    async def write(self, data: bytes, check: DigestCheck) -> bool:
        """Whether there was room for the bytes; ``check`` has seen them either way."""
        if self.small is not None and len(self.small) + len(data) <= IN_MEMORY:
            check.update(data)
            self.small += data
            return True

        def work() -> None:
            check.update(data)
            self.move_to_file(data)

        try:
            if self.small is None and len(data) <= SMALL_WRITE:
                work()
            else:
                await in_thread(work)
        except OSError as error:
            log_not_stored(check.expected.what, error)
            return False
        return True

    def open_window(self) -> Window:
        """Go on in memory."""
        self.window = Window(self.spool.written, self._limit)
        if self.small:
            self.window.append(bytes(self.small))
        self.small = None
        return self.window


def log_not_stored(what: str, error: OSError) -> None:
    """If the folder is read-only, the log says so once, at the start."""
    level = logging.DEBUG if error.errno in (errno.EROFS, errno.EACCES) else logging.WARNING
    log.log(level, "%s is not stored: %s", what, reason(error))
