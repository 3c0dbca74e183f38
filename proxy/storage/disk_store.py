"""Blobs in files, and a store that keeps one file for each digest."""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import stat
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Set
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.errors import ProxyError, StoreDamaged
from proxy.model import Blob, Span, new_hash
from proxy.runtime import PIECE_SIZE, Batches, in_thread, open_spool, read_piece
from proxy.storage.base import BlobEntry
from proxy.storage.commit import Incoming, commit

_BLOB_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)
_OPEN_BLOB = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK

FileIdentity = tuple[int, ...]
"""``st_size``, ``st_mtime_ns``, ``st_ino``, ``st_ctime_ns``: replacing or rewriting a file changes
it. ``st_ctime_ns`` cannot be set back; identities without it, in old records, match no file.
"""


def identity_of(found: os.stat_result) -> FileIdentity:
    return found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns


class DiskBlob(Blob):
    """A complete file of a store, or one outside of stores, which others may replace."""

    def __init__(
        self,
        path: Path,
        size: int,
        *,
        key: str | None = None,
        identity: FileIdentity | None = None,
        changed: Callable[[str], ProxyError] = StoreDamaged,
    ) -> None:
        """``identity``: the file is not ours, and reading fails if it has another identity now.

        ``changed`` makes the error for a file that is not as it was, from the name of the file.
        """
        self.path = path
        self._size = size
        self._key = key
        self._identity = identity
        self._changed = changed

    @property
    def key(self) -> str | None:
        return self._key

    def local_path(self) -> Path:
        return self.path

    @property
    def size(self) -> int:
        return self._size

    async def length(self) -> int:
        return self._size

    def open(self) -> int:
        """A descriptor for reading, which the caller closes. Raises as ``chunks`` does."""
        try:
            fd = os.open(self.path, _OPEN_BLOB)
        except OSError as error:
            raise self._changed(self.path.name) from error
        try:
            self.check(fd)
        except ProxyError:
            os.close(fd)
            raise
        if self._identity is None:
            _try_lock(fd, fcntl.LOCK_SH)  # until the descriptor is closed: see ``DiskStore.busy``
        return fd

    def check(self, fd: int) -> None:
        """Compare the open file with what was promised; called before the last piece is sent."""
        found = os.fstat(fd)
        if not stat.S_ISREG(found.st_mode) or found.st_size != self._size:
            raise self._changed(self.path.name)
        if self._identity is not None and _last_identity(found, self._identity) != self._identity:
            raise self._changed(self.path.name)

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """As ``Blob``. Raises the error of ``changed``."""
        end = self._size if stop is None else min(stop, self._size)
        fd = self.open()
        try:
            while start < end:
                piece = await read_piece(fd, start, min(PIECE_SIZE, end - start))
                start += len(piece)
                if not piece or start >= end:
                    self.check(fd)
                if not piece:
                    raise self._changed(self.path.name)
                yield piece
                if start < end:
                    await asyncio.sleep(0)  # a fast reader never waits; let other tasks run
        finally:
            os.close(fd)

    async def spans(
        self, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[Span | bytes, None]:
        """As ``Blob``; the file is checked again before the last span."""
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


class DiskStore:
    """Finished files as ``root/<aa>/<sha256>``; any number of processes may share them.

    A file appears whole, by a rename, and is never written again. Files that are put at the same
    time are put together: see ``commit``.
    """

    def __init__(self, root: Path, spool: Path | None = None) -> None:
        """``spool``: a folder on the same file system, in which bytes are written before that."""
        self.root = root
        self._prefix = f"{root}{os.sep}"
        self._spool = spool or root.with_name("spool")
        self._commits: Batches[Incoming, None] = Batches(commit)

    def path(self, key: str) -> Path:
        """The path of the file, or for it. Raises ``ValueError`` for a key that is not a sha256."""
        return Path(self._text_path(key))

    def _text_path(self, key: str) -> str:
        if not _BLOB_KEY.fullmatch(key):
            raise ValueError("a key of the store is a sha256 in lowercase hex")
        return f"{self._prefix}{key[:2]}{os.sep}{key}"

    async def get(self, key: str) -> DiskBlob | None:
        path = self._text_path(key)  # most often the file is absent, and a Path is slow to make
        try:
            fd = os.open(path, _OPEN_BLOB)
        except OSError:
            return None
        try:
            found = os.fstat(fd)
        finally:
            os.close(fd)
        return DiskBlob(Path(path), found.st_size, key=key) if stat.S_ISREG(found.st_mode) else None

    def busy(self, key: str) -> bool:
        """Whether a process is sending the file, or is still writing it.

        The kernel releases a lock when its process ends, however it ends.
        """
        try:
            fd = os.open(self._text_path(key), _OPEN_BLOB)
        except OSError:
            return False
        try:
            return not _try_lock(fd, fcntl.LOCK_EX)
        finally:
            os.close(fd)

    async def put(self, key: str, content: Path | bytes) -> None:
        await self._commits.add(self._incoming(key, content))

    def adopt(self, key: str, spool: Path) -> None:
        """As ``put``, for code that runs in a thread. Blocks on the disk."""
        (error,) = commit([self._incoming(key, spool)])
        if error is not None:
            raise error

    def _incoming(self, key: str, content: Path | bytes) -> Incoming:
        return Incoming(content, self.path(key), self._spool)

    async def delete(self, *keys: str) -> None:
        for path in [self.path(key) for key in keys]:
            await in_thread(path.unlink, missing_ok=True)

    async def has(self, key: str) -> bool:
        return _file(self._text_path(key)) is not None

    async def present(self, keys: Collection[str]) -> Set[str]:
        paths = {key: self._text_path(key) for key in keys}
        return await in_thread(lambda: {key for key in paths if _file(paths[key]) is not None})

    async def entries(self) -> AsyncIterator[BlobEntry]:
        for entry in await in_thread(lambda: list(self._entries())):
            yield entry

    def _entries(self) -> Iterator[BlobEntry]:
        for path in self.root.glob("[0-9a-f][0-9a-f]/*"):
            found = _file(path) if _BLOB_KEY.fullmatch(path.name) else None
            if found is not None:  # None: deleted meanwhile
                yield BlobEntry(path.name, found.st_size, found.st_mtime)


@asynccontextmanager
async def as_local_file(blob: Blob, spool: Path) -> AsyncIterator[Path]:
    """A file with the bytes of the blob: its own, or a copy in the folder ``spool``.

    A copy is removed at the end. Raises as ``Blob.chunks``, and ``OSError``.
    """
    if own := blob.local_path():
        yield own
        return
    fd, path = await in_thread(open_spool, spool)
    try:
        with os.fdopen(fd, "wb") as file:
            async for piece in blob.chunks():
                await in_thread(file.write, piece)
            file.flush()
            yield path
    finally:
        path.unlink(missing_ok=True)


async def digests_of(blob: Blob, algorithms: Collection[str]) -> dict[str, str]:
    """Digests of the bytes in lowercase hex; ``algorithms`` are of ``HASHES_BY_STRENGTH``.

    Raises as ``Blob.chunks``; for a local file ``OSError``.
    """
    running = {name: new_hash(name) for name in algorithms}

    def update(piece: bytes) -> None:
        for each in running.values():
            each.update(piece)

    if not running:
        return {}
    if path := blob.local_path():
        await in_thread(_read_all, path, update)
    else:
        async for piece in blob.chunks():
            await in_thread(update, piece)
    return {name: each.hexdigest() for name, each in running.items()}


def _read_all(path: Path, take: Callable[[bytes], None]) -> None:
    with path.open("rb", buffering=0) as file:
        while piece := file.read(2**20):
            take(piece)


def _last_identity(found: os.stat_result, before: FileIdentity) -> FileIdentity:
    """The identity now; of a deleted or replaced file, its identity before that."""
    now = identity_of(found)
    return now if found.st_nlink else (*now[:3], *before[3:])


def _file(path: Path | str) -> os.stat_result | None:
    try:
        found = os.lstat(path)
    except OSError:
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _try_lock(fd: int, kind: int) -> bool:
    """False only if another descriptor has the lock; some file systems have no locks."""
    try:
        fcntl.flock(fd, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True
