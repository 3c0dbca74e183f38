"""Records in a database in a folder: with a checksum for each value, and rebuilt when damaged."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import sqlite3
import threading
import time
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from proxy.errors import reason
from proxy.runtime import Batches
from proxy.storage.diskcache_bytes import (
    DATABASE_ERRORS,
    DBNAME,
    FILE_SIZE,
    ROW_SIZE,
    InlineReader,
    NeedsThread,
    connected,
    keys,
)
from proxy.storage.folder_checks import private_folder, require_local
from proxy.storage.keys import Key, RecordKind, prefix_of

T = TypeVar("T")
log = logging.getLogger(__name__)


class DiskRecords:
    """``Records`` in one folder, which several processes on one machine may share.

    Beyond the size limit, the records that were written longest ago are deleted first. Small
    values are read on the event loop, others in one thread; another thread writes, so that
    writing a large value delays no read. Writes that wait for it are one transaction. A folder
    that cannot be written is only read.
    """

    def __init__(self, directory: Path, size_limit: int = 4 * 2**30) -> None:
        """``size_limit`` in bytes; enforced each time that a hundredth of it was written.

        Raises ``ConfigurationError`` for a folder that others may write or that is not local.
        """
        self.failures = 0
        self._failing = False
        self._size_limit = self._unculled = size_limit
        with suppress(OSError):  # reported when the first value cannot be read or written
            private_folder(directory)
        require_local(directory)
        database = RecordsDb(directory, lambda: connected(directory, size_limit))
        self._inline = InlineReader(directory, database.current_if_open)
        self._reader = DatabaseThread("records-read", database)
        self._writer = DatabaseThread("records-write", database)
        self._writes = Batches(self._write_batch, self._writer.thread)

    async def get(self, key: Key) -> bytes | None:
        with suppress(NeedsThread):
            return without_checksum(self._inline.get(key))
        return await self._read(lambda cache: without_checksum(cache.get(key)), None)

    async def keys(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        prefix = prefix_of(kind, parts)
        found: list[str] = await self._read(lambda cache: keys(cache, prefix), [])
        return list(map(Key.parse, found))

    async def put(self, key: Key, value: bytes) -> None:
        await self._write(lambda cache: _set(cache, key, value), len(value))

    async def put_if(
        self, key: Key, test: Callable[[bytes | None], bool], values: Mapping[Key, bytes | None]
    ) -> bool:
        def work(cache: Any) -> bool:
            with cache.transact():
                if not test(without_checksum(cache.get(key))):
                    return False
                # Large values are last: their former files are removed before the commit.
                for each, value in sorted(values.items(), key=lambda item: len(item[1] or b"")):
                    cache.delete(each) if value is None else _set(cache, each, value)
            return True

        return await self._write(work, sum(len(value or b"") for value in values.values()))

    async def forget(self, key: Key) -> None:
        await self._write(lambda cache: cache.delete(key), 0)

    async def close(self) -> None:
        """Finish the reads and writes that have begun, and close the database."""
        self._inline.close()
        await self._writer.close()
        await self._reader.close()

    async def _read(self, work: Callable[[Any], T], otherwise: T) -> T:
        try:
            return await self._reader.run(work)
        except DATABASE_ERRORS as error:
            self._report(error)
            return otherwise

    async def _write(self, work: Callable[[Any], bool], size: int) -> bool:
        try:
            if done := await self._writes.add(_Write(work, size)):
                self._failing = False
        except DATABASE_ERRORS as error:
            self._report(error)
            return False
        return done

    def _write_batch(self, writes: Sequence[_Write]) -> list[bool | Exception]:
        """In the thread that writes."""
        results: list[bool | Exception] = []
        for small, group in groupby(writes, lambda write: write.size < FILE_SIZE):
            some = list(group)  # a file that was written before its transaction failed would stay
            results += self._transaction(some) if small else map(self._single, some)
        self._unculled += sum(write.size + ROW_SIZE for write in writes)
        if self._unculled > self._size_limit // 100:
            self._unculled = 0
            with suppress(*DATABASE_ERRORS):
                self._writer.call(lambda cache: cache.cull())
        return results

    def _transaction(self, writes: list[_Write]) -> list[bool | Exception]:
        def work(cache: Any) -> list[bool | Exception]:
            with cache.transact():
                return [write.work(cache) for write in writes]

        if len(writes) > 1:
            with suppress(*DATABASE_ERRORS):
                return self._writer.call(work)
        return list(map(self._single, writes))  # so that a write that fails fails alone

    def _single(self, write: _Write) -> bool | Exception:
        try:
            return self._writer.call(write.work)
        except DATABASE_ERRORS as error:
            return error

    def _report(self, error: Exception) -> None:
        """Log the error, unless one was logged since the last successful write."""
        self.failures += 1
        if not self._failing:
            self._failing = True
            log.warning("the records of the cache cannot be read or written: %s", reason(error))


class _Write(NamedTuple):
    work: Callable[[Any], bool]
    size: int
    """Bytes of the values."""


def _set(cache: Any, key: Key, value: bytes) -> bool:
    return bool(cache.set(key, with_checksum(value)))


def with_checksum(value: bytes) -> bytes:
    """The value after its checksum: after a power cut, the file of a large value may be empty."""
    return zlib.crc32(value).to_bytes(4, "big") + value


def without_checksum(value: bytes | None) -> bytes | None:
    if value is None or zlib.crc32(memoryview(value)[4:]).to_bytes(4, "big") != value[:4]:
        return None
    return value[4:]


_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REOPEN_PAUSE = 10.0
"""Seconds before a database that could not be opened is tried again."""


class RecordsDb:
    """A database that is opened when first needed, and replaced by an empty one if damaged.

    All users, in other processes too, notice a replacement by the identity of the file.
    """

    def __init__(self, folder: Path, connect: Callable[[], Any]) -> None:
        """``connect`` opens or creates the database; threads may share what it returns."""
        self._folder = folder
        self._path = str(folder / DBNAME)
        self._connect = connect
        self._lock = threading.Lock()
        self._open: Any = None
        self._file: tuple[int, int] | None = None
        self._refused: tuple[float, Exception] | None = None

    def current(self) -> Any:
        """Raises ``sqlite3.Error`` or ``OSError`` where it cannot be opened."""
        if self._open is None or self._identity() != self._file:
            with self._lock:
                if self._open is None or self._identity() != self._file:
                    self._reopen()
        return self._open

    def current_if_open(self) -> Any:
        """As ``current``; None if ``current`` would have to open the database."""
        return self._open if self._identity() == self._file else None

    def replace_damaged(self) -> None:
        """Move the damaged database away; of all processes that notice the damage, one does so."""
        damaged = self._folder.with_name(self._folder.name + ".damaged")
        with (
            self._lock,
            self._folder.with_name(self._folder.name + ".lock").open("a") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._identity() == self._file:
                log.warning(
                    "%s is damaged: moved to %s, and a new one is created",
                    self._folder,
                    damaged.name,
                )
                shutil.rmtree(damaged, ignore_errors=True)
                os.replace(self._folder, damaged)  # noqa: PTH105 (the target does not exist)
            self._refused = None

    def _reopen(self) -> None:
        if self._refused is not None:
            until, error = self._refused
            if time.monotonic() < until:
                raise error.with_traceback(None)
        self._refused = self._open = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open = self._connect()
        except (sqlite3.Error, OSError) as error:
            self._refused = time.monotonic() + _REOPEN_PAUSE, error
            raise
        finally:
            self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 (called for each read, and a Path is slow to make)
        except OSError:
            return None
        return found.st_dev, found.st_ino


class DatabaseThread:
    """A thread that uses a database, for one piece of work after the other."""

    def __init__(self, name: str, database: RecordsDb) -> None:
        self._database = database
        self.thread = ThreadPoolExecutor(1, name)
        self._used: Any = None

    async def run(self, work: Callable[[Any], T]) -> T:
        """Call ``work`` with the database in the thread."""
        return await asyncio.get_running_loop().run_in_executor(self.thread, self.call, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self.thread, self._close)
        self.thread.shutdown()

    def call(self, work: Callable[[Any], T]) -> T:
        """As ``run``, for code that is in the thread."""
        try:
            current = self._database.current()
            if current is not self._used:
                self._close()
                self._used = current
            return work(current)
        except (sqlite3.Error, OSError) as error:
            self._close()  # a transaction that could not be committed must not stay open
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                self._database.replace_damaged()
            raise

    def _close(self) -> None:
        if self._used is not None:
            self._used.close()  # the connection of this thread; opened again when needed
            self._used = None
