"""Small values that survive a restart, in diskcache; nothing else may know of that library.

Values are bytes and never pickled, in neither direction: who can write to the folder still
cannot run code here.
"""

from __future__ import annotations

import logging
import sqlite3
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import diskcache
from diskcache.core import MODE_BINARY, MODE_RAW

from proxy.storage.database import Database, Lane
from proxy.storage.folders import private_folder, require_local

T = TypeVar("T")
log = logging.getLogger(__name__)

_TROUBLES = (diskcache.Timeout, sqlite3.Error, OSError, ValueError)
_KEYS = """
    SELECT key FROM Cache WHERE raw = 1 AND key >= ? AND key < ?
    AND (expire_time IS NULL OR expire_time > ?) ORDER BY key
"""


class RawDisk(diskcache.Disk):  # type: ignore[misc]  # the library has no types
    """Text keys and bytes as they are; everything that the library would pickle is refused."""

    def put(self, key: str) -> Any:
        if type(key) is not str:
            raise TypeError("a key is text")
        return super().put(key)

    def get(self, key: object, raw: bool) -> str:
        if not raw or type(key) is not str:
            raise ValueError("a key that was not written here")
        return key

    def store(self, value: bytes, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes or read:
            raise TypeError("a value is bytes")
        return super().store(value, False, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        if mode == MODE_RAW and type(value) is bytes:
            return value
        if mode != MODE_BINARY or not filename or read:
            raise ValueError("a value that was not written here")
        if Path(filename).is_absolute() or ".." in Path(filename).parts:
            raise ValueError("a value outside of the folder")
        return Path(self._directory, filename).read_bytes()

    def _write(self, full_path: str, *content: Any, **options: Any) -> Any:
        try:
            return super()._write(full_path, *content, **options)
        except OSError:  # a full disk is not to be filled with halves
            Path(full_path).unlink(missing_ok=True)
            raise


class DiskRecords:
    """Records in one folder, which several processes on one machine may share.

    Beyond the size limit those that were written longest ago go first. Nothing here waits on
    the loop: one thread reads and another writes, so that no large value that is being written
    holds up a read.
    """

    def __init__(
        self, directory: Path, size_limit: int = 4 * 2**30, *, keep: float | None = None
    ) -> None:
        """``size_limit`` in bytes; ``keep``: seconds after which a value is gone, None: never.

        Raises ``ConfigurationError`` for a folder that others may write or that is not local.
        """
        self._keep = keep
        self._failing = False
        with suppress(OSError):  # told when the first value cannot be read or written
            private_folder(directory)
        require_local(directory)
        settings = {
            "eviction_policy": "least-recently-stored",
            "size_limit": size_limit,
            "cull_limit": 10,
            "statistics": 0,
            "tag_index": 0,
            "sqlite_synchronous": 1,
        }

        def connect() -> Any:
            return diskcache.Cache(str(directory), timeout=1, disk=RawDisk, **settings)

        database = Database(directory, connect)
        self._reader = Lane("records-read", database)
        self._writer = Lane("records-write", database)

    async def get(self, key: str) -> bytes | None:
        return await self._read(lambda cache: _unsealed(cache.get(key)), None)

    async def keys(self, prefix: str) -> list[str]:
        return await self._read(lambda cache: _keys(cache, prefix), [])

    async def put(self, key: str, value: bytes) -> None:
        await self._write(lambda cache: cache.set(key, _sealed(value), expire=self._keep))

    async def forget(self, key: str) -> None:
        await self._write(lambda cache: cache.delete(key))

    async def close(self) -> None:
        """After what was begun. Nothing may be asked any more."""
        await self._writer.close()
        await self._reader.close()

    async def _read(self, work: Callable[[Any], T], otherwise: T) -> T:
        try:
            return await self._reader.run(work)
        except _TROUBLES as error:
            self._tell(error)
            return otherwise

    async def _write(self, work: Callable[[Any], object]) -> None:
        try:
            await self._writer.run(work)
            self._failing = False
        except _TROUBLES as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Once, until something could be written again."""
        if not self._failing:
            self._failing = True
            log.warning("what is remembered cannot be read or written: %r", error)


def _keys(cache: Any, prefix: str) -> list[str]:
    """By the index on keys; the library itself could only walk through all of them."""
    rows = cache._sql(_KEYS, (prefix, prefix + chr(0x10FFFF), time.time()))
    return [key for (key,) in rows]


def _sealed(value: bytes) -> bytes:
    """With a checksum: after a power cut a large value may be there without its bytes."""
    return zlib.crc32(value).to_bytes(4, "big") + value


def _unsealed(value: bytes | None) -> bytes | None:
    if value is None or zlib.crc32(memoryview(value)[4:]).to_bytes(4, "big") != value[:4]:
        return None
    return value[4:]
