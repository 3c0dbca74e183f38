"""An upload that arrives: written to a spool file beside the packages, with its digests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from proxy.errors import UploadTooLarge
from proxy.runtime import in_thread, open_spool, size_text

_FLUSH = 2**20
"""Bytes that are written and hashed in one go."""


class IncomingUpload:
    """The bytes of one file. ``discard`` removes what was not published."""

    def __init__(self, folder: Path, limit: int) -> None:
        """``folder``: for the spool file, on the file system of the packages. ``limit``: bytes."""
        self._folder = folder
        self._limit = limit
        self._fd = -1
        self.path = folder
        """The spool file, after the first write."""
        self._waiting = bytearray()
        self._hashes: dict[str, Any] = {
            "sha256": hashlib.sha256(),
            "blake2_256": hashlib.blake2b(digest_size=32),
            "md5": hashlib.md5(usedforsecurity=False),
        }
        self.size = 0

    @property
    def digests(self) -> Mapping[str, str]:
        """By the names of the form fields, without ``_digest``; complete after ``finish``."""
        return {name: state.hexdigest() for name, state in self._hashes.items()}

    async def write(self, data: bytes) -> None:
        """Raises ``UploadTooLarge``, and ``OSError`` from the disk."""
        self.size += len(data)
        if self.size > self._limit:
            raise UploadTooLarge(f"the file has more than {size_text(self._limit)}")
        self._waiting += data
        if len(self._waiting) >= _FLUSH:
            data, self._waiting = bytes(self._waiting), bytearray()
            await in_thread(self._take, data)

    async def finish(self, uploaded: float | None = None) -> None:
        """Write the rest, and make all of it durable.

        ``uploaded``: the Unix time in seconds that pages show; None: now.
        """
        await in_thread(self._take, bytes(self._waiting))
        self._waiting.clear()
        if uploaded is not None:
            set_upload_time(self._fd, uploaded)
        await in_thread(os.fsync, self._fd)

    async def discard(self) -> None:
        """Remove the spool file. A published file has another name, and stays."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            await in_thread(remove_spool, fd, self.path)

    def _take(self, data: bytes) -> None:
        if self._fd < 0:  # here, so that a cancelled task leaves no open file
            self._fd, self.path = open_spool(self._folder)
        write_all(self._fd, data)
        for state in self._hashes.values():
            state.update(data)


def write_all(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def set_upload_time(fd: int, uploaded: float) -> None:
    """``uploaded``: Unix time in seconds, which the file keeps to microseconds, as pages do."""
    nanoseconds = round(uploaded * 1e6) * 1000
    os.utime(fd, ns=(nanoseconds, nanoseconds))


def remove_spool(fd: int, path: Path) -> None:
    path.unlink(missing_ok=True)
    os.close(fd)
