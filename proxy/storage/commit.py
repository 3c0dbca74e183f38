"""Moves files into their places so that a power cut leaves each one whole or absent.

The bytes of a file are on the disk before it gets its name, and the name is before the commit
ends. Many files share one sync.
"""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from proxy.runtime import open_spool

SYNC_ALL_FROM = 4
"""Files for which the whole file system is synced: each file by itself takes as long."""

_OPEN_SYNCED = os.O_RDONLY | os.O_CLOEXEC
_C = ctypes.CDLL(None, use_errno=True)


class Incoming:
    """One file of a commit. Its methods block on the disk and raise ``OSError``."""

    def __init__(self, content: Path | bytes, target: Path, spool: Path) -> None:
        """``content``: bytes, or a complete file on the file system of ``target``, which is moved.

        ``spool``: the folder in which bytes are written until their file is moved.
        """
        self.fd = -1
        self.error: OSError | None = None
        self._content = content
        self._path = content if isinstance(content, Path) else None
        self._target = target
        self._copied: Path | None = None  # the file that was given, if it had to be copied
        self._spool = spool

    def open(self) -> None:
        """Open the file; write it if necessary."""
        if isinstance(self._content, Path):
            self.fd = os.open(self._content, _OPEN_SYNCED)
            return
        self.fd, self._path = open_spool(self._spool)
        rest = memoryview(self._content)
        while rest:
            rest = rest[os.write(self.fd, rest) :]

    def sync(self) -> None:
        os.fsync(self.fd)

    def move(self) -> None:
        try:
            self._rename()
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            self._copy()
            self._rename()

    def _rename(self) -> None:
        assert self._path is not None
        try:
            os.replace(self._path, self._target)  # noqa: PTH105 (a Path would be made again)
        except FileNotFoundError:
            self._target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            os.replace(self._path, self._target)  # noqa: PTH105

    def _copy(self) -> None:
        """To the file system of the target, in place of the file that was given."""
        assert self._path is not None
        with self._path.open("rb") as file:
            fd, copy = open_spool(self._spool)
            with os.fdopen(fd, "wb") as written:
                self._copied, self._path = self._path, copy
                shutil.copyfileobj(file, written, 2**20)
                written.flush()
                os.fsync(fd)

    def sync_folder(self) -> None:
        fd = os.open(self._target.parent, _OPEN_SYNCED)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """Close the file; remove one that was made here and not moved, or one that was copied."""
        if self.fd >= 0:
            os.close(self.fd)
        made_here = self._path if self._path is not self._content else None
        left = self._copied if self.error is None else made_here
        if left is not None:
            with suppress(OSError):
                left.unlink()


def commit(files: Sequence[Incoming]) -> list[OSError | None]:
    """Move all files to their targets, and return the error of each. Blocks on the disk.

    After an error, a file that was given as a path is still there.
    """
    try:
        _each(files, Incoming.open)
        if not _sync_together(files):
            _each(files, Incoming.sync)
        _each(files, Incoming.move)
        if not _sync_together(files):
            _each(files, Incoming.sync_folder)
    finally:
        for file in files:
            file.close()
    return [file.error for file in files]


def _each(files: Sequence[Incoming], step: Callable[[Incoming], None]) -> None:
    for file in files:
        if file.error is None:
            try:
                step(file)
            except OSError as error:
                file.error = error


def _sync_together(files: Sequence[Incoming]) -> bool:
    """Sync the file system if that is worth it; whether that was done without an error."""
    sound = [file for file in files if file.error is None]
    if len(sound) < SYNC_ALL_FROM:
        return False
    try:
        return bool(_C.syncfs(sound[0].fd) == 0)
    except AttributeError:  # only Linux has it
        return False
