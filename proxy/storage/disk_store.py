"""Bytes that lie in memory or in one file, and a store of such files by digest.

What is still arriving is in ``upstream.downloads``; what may be deleted, in ``eviction``.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import stat
from collections.abc import AsyncGenerator, Iterator
from pathlib import Path

from proxy.errors import IndexUnavailable, ProxyError, StoreDamaged
from proxy.runtime import PIECE_SIZE, in_thread, read_piece
from proxy.storage.base import BlobEntry, Span

_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

FileIdentity = tuple[int, ...]
"""``st_size``, ``st_mtime_ns``, ``st_ino``, ``st_ctime_ns``: a file that was replaced or rewritten
has another. Nobody can set back the last; records of former versions, without it, match nothing.
"""


def identity_of(found: os.stat_result) -> FileIdentity:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns


class BytesBlob:
    """Bytes in memory, a generated ``.metadata`` for example."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    @property
    def size(self) -> int:
        return len(self.data)

    async def length(self) -> int:
        return len(self.data)

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        if piece := self.data[start:stop]:
            yield piece


class DiskBlob:
    """A whole file. With ``identity`` it is not ours, and must still be the one that was seen."""

    def __init__(
        self, path: Path, size: int, *, identity: FileIdentity | None = None, index: str = "local"
    ) -> None:
        """``index`` names the owner of a file with ``identity`` in errors."""
        self.path = path
        self._size = size
        self._identity = identity
        self._index = index

    @property
    def size(self) -> int:
        return self._size

    async def length(self) -> int:
        return self._size

    def open(self) -> int:
        """A descriptor for reading, for whoever sends by offset; the caller closes it.

        Raises as ``chunks`` does.
        """
        try:
            fd = os.open(self.path, _READ)
        except OSError as error:
            raise self._changed() from error
        try:
            self.check(fd)
        except ProxyError:
            os.close(fd)
            raise
        if self._identity is None:
            _try_lock(fd, fcntl.LOCK_SH)  # until it is closed: see ``DiskStore.busy``
        return fd

    def check(self, fd: int) -> None:
        """Make sure, before the last piece is sent, that the open file is what was promised."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != self._size:
            raise self._changed()
        if self._identity is not None and _told(found, self._identity) != self._identity:
            raise self._changed()

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """Raises ``StoreDamaged``, or ``IndexUnavailable`` where the file has an ``identity``."""
        end = self._size if stop is None else min(stop, self._size)
        fd = self.open()
        try:
            while start < end:
                piece = await read_piece(fd, start, min(PIECE_SIZE, end - start))
                start += len(piece)
                if not piece or start >= end:
                    self.check(fd)
                if not piece:
                    raise self._changed()
                yield piece
                if start < end:
                    await asyncio.sleep(0)  # a fast reader never waits, others want the loop too
        finally:
            os.close(fd)

    async def spans(
        self, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[Span | bytes, None]:
        """As ``FileBlob``; the last span comes after a last look at the file."""
        end = self._size if stop is None else min(stop, self._size)
        ours = self._identity is None
        fd = self.open()
        try:
            last = max(start, end - PIECE_SIZE)
            if start < last:
                yield Span(fd, start, last, ours)
            self.check(fd)
            if last < end:
                yield Span(fd, last, end, ours)
        finally:
            os.close(fd)

    def _changed(self) -> ProxyError:
        if self._identity is None:
            return StoreDamaged(self.path.name)
        return IndexUnavailable(self._index, f"the file {self.path.name} has changed")


class DiskStore:
    """Finished files as ``root/<aa>/<sha256>``; any number of processes may share them.

    A file appears whole, by a rename, and is never written again.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Where the file is or would be. Raises ``ValueError`` for what is no sha256."""
        if not _KEY.fullmatch(key):
            raise ValueError("a key of the store is a sha256 in lowercase hex")
        return self.root / key[:2] / key

    async def get(self, key: str) -> DiskBlob | None:
        """None also for a file that cannot be opened."""
        path = self.path(key)
        try:
            fd = os.open(path, _READ)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return DiskBlob(path, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def busy(self, key: str) -> bool:
        """Whether the file is being sent, or still arriving, in this process or another one.

        The kernel drops a lock with the process, however it ends.
        """
        try:
            fd = os.open(self.path(key), _READ)
        except OSError:
            return False
        try:
            return not _try_lock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)

    async def put(self, key: str, spool: Path) -> None:
        await in_thread(self.adopt, key, spool)

    def adopt(self, key: str, spool: Path) -> None:
        """``put``, for whoever is in a thread already."""
        path = self.path(key)
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _sync(spool)
        os.replace(spool, path)  # noqa: PTH105 (both sides are paths already)
        _sync(path.parent)

    async def delete(self, key: str) -> None:
        await in_thread(self.path(key).unlink, missing_ok=True)

    def has(self, key: str) -> bool:
        return _file(self.path(key)) is not None

    def entries(self) -> Iterator[BlobEntry]:
        """Blocks on the disk: for threads and commands."""
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            found = _file(path) if _KEY.fullmatch(path.name) else None
            if found is not None:  # else it has vanished meanwhile
                yield BlobEntry(path.name, found.st_size, found.st_mtime)


def _told(found: os.stat_result, before: FileIdentity) -> FileIdentity:
    """The identity now; of a file that has been deleted or renamed over, as it was before that."""
    now = identity_of(found)
    return now if found.st_nlink else (*now[:3], *before[3:])


def _file(path: Path) -> os.stat_result | None:
    try:
        found = path.lstat()
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _try_lock(fd: int, kind: int) -> bool:
    """False only where another one holds the file; some file systems know no locks."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def _sync(path: Path) -> None:
    """Only what is on the disk before the rename survives a power cut under its final name."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
