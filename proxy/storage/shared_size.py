"""The size of a store as all of its processes know it, in a small file.

Without it, each process would learn only by a scan what the others have put.
"""

from __future__ import annotations

import fcntl
import math
import os
import struct
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

_SIZE_STRUCT = struct.Struct("<qqq")
FORGET = 600.0
"""Seconds after which reservations count no more: they last for moments, unless a process died."""


class Known(NamedTuple):
    stored: int
    """Bytes of the blobs."""
    reserved: int
    """Bytes of the blobs that are about to be put."""
    changed: int
    """When bytes were last reserved: a Unix time in seconds."""

    @property
    def promised(self) -> int:
        return self.stored + self.reserved


class SharedSize:
    """A change takes some ten microseconds. Where the file cannot be written, the size is that
    of this process alone."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._own = Known(0, 0, 0)

    def read(self) -> Known:
        return self._change(lambda known: known)

    def add(self, size: int) -> Known:
        """Blobs of so many bytes were put."""
        return self._change(lambda known: known._replace(stored=known.stored + size))

    def reserve(self, size: int, limit: float = math.inf) -> Known | None:
        """A blob of so many bytes is about to be put: None if others have reserved so many bytes
        that all together are more than ``limit``."""
        now, mine = int(time.time()), False

        def reserved(known: Known) -> Known:
            nonlocal mine
            before = known.reserved if now - known.changed < FORGET else 0
            mine = before == 0 or before + size <= limit
            return Known(known.stored, before + size, now) if mine else known

        known = self._change(reserved)
        return known if mine else None

    def release(self, size: int, *, stored: bool) -> None:
        """The blob was put, or could not be."""
        more = size if stored else 0
        self._change(
            lambda known: known._replace(
                stored=known.stored + more, reserved=max(0, known.reserved - size)
            )
        )

    def correct(self, before: int, total: int) -> None:
        """A scan has found ``total`` bytes. ``before``: those that were known when it began."""
        self._change(lambda known: known._replace(stored=total + max(0, known.stored - before)))

    def _change(self, change: Callable[[Known], Known]) -> Known:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            self._own = change(self._own)
            return self._own
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            data = os.pread(fd, _SIZE_STRUCT.size, 0)
            known = (
                Known(*_SIZE_STRUCT.unpack(data))
                if len(data) == _SIZE_STRUCT.size
                else Known(0, 0, 0)
            )
            changed = change(known)
            if changed != known:
                os.pwrite(fd, _SIZE_STRUCT.pack(*changed), 0)
            return changed
        except OSError:  # a full disk; the next scan corrects the size
            return self._own
        finally:
            os.close(fd)
