"""The bytes of one download while it arrives: in a file, or in memory once no file takes them."""

from __future__ import annotations

import logging
import os
import weakref
from collections import deque
from pathlib import Path

from proxy.runtime import PIECE_SIZE, open_spool, read_piece

log = logging.getLogger(__name__)


class Spool:
    """A file that is read while it is written, by any number of readers, each by offset.

    The file exists under its name until it is discarded or somebody takes it over; it can be
    read for as long as the spool is referenced.
    """

    def __init__(self, folder: Path) -> None:
        """The file is made by ``open``, or when the first bytes come."""
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
        """Make the file, unless it is there. Blocks on the disk. Raises ``OSError``."""
        if self._path is not None:
            return
        self.fd, self._path = open_spool(self._folder)
        if self._removed:  # while a thread was about to make it
            self.remove()
        self._close = weakref.finalize(self, os.close, self.fd)

    def restart(self) -> None:
        """Forget what was written. Blocks on the disk."""
        if self._path is not None:
            os.ftruncate(self.fd, 0)
        self.written = 0

    async def read(self, at: int, size: int) -> bytes:
        """Some of the bytes from ``at`` on, at least one where there are any."""
        return await read_piece(self.fd, at, min(size, PIECE_SIZE))

    def remove(self) -> None:
        """Take away the name of a file that nobody took over; who is reading may go on."""
        self._removed = True
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def close(self) -> None:
        """Give the disk space back at once; nothing can be read any more."""
        self.remove()
        if self._close is not None:
            self._close()


class Window:
    """The newest bytes of a download, bounded: what goes on where a file cannot."""

    def __init__(self, base: int, limit: int) -> None:
        self.base = base
        """Offset of the first byte that is still held."""
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
        """Some of the bytes from ``at`` on, at least one where they are held."""
        start = self.base
        for piece in self._pieces:
            if start <= at < start + len(piece):
                return piece[at - start : at - start + size]
            start += len(piece)
        return b""
