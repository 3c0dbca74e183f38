"""Small values that survive a restart: records, each sealed with a checksum."""

from __future__ import annotations

import logging
import zlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from proxy.errors import reason
from proxy.storage.database import Database, DatabaseThread
from proxy.storage.folders import private_folder, require_local
from proxy.storage.glance import InlineReader, NeedsThread
from proxy.storage.raw import DATABASE_ERRORS, connected, keys

T = TypeVar("T")
log = logging.getLogger(__name__)


class DiskRecords:
    """Records in one folder, which several processes on one machine may share.

    Beyond the size limit those that were written longest ago go first. Nothing here waits on
    the loop: what is not there at a glance is read in one thread, and another writes, so that no
    large value that is being written holds up a read. In a folder that cannot be written is
    what it holds, and nothing is added.
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
        database = Database(directory, lambda: connected(directory, size_limit))
        self._glance = InlineReader(directory, database)
        self._reader = DatabaseThread("records-read", database)
        self._writer = DatabaseThread("records-write", database)

    async def get(self, key: str) -> bytes | None:
        with suppress(NeedsThread):
            return _without_checksum(self._glance.get(key))
        return await self._read(lambda cache: _without_checksum(cache.get(key)), None)

    async def keys(self, prefix: str) -> list[str]:
        return await self._read(lambda cache: keys(cache, prefix), [])

    async def put(self, key: str, value: bytes) -> None:
        await self._write(lambda cache: cache.set(key, _with_checksum(value), expire=self._keep))

    async def forget(self, key: str) -> None:
        await self._write(lambda cache: cache.delete(key))

    async def close(self) -> None:
        """After what was begun. Nothing may be asked any more."""
        self._glance.close()
        await self._writer.close()
        await self._reader.close()

    async def _read(self, work: Callable[[Any], T], otherwise: T) -> T:
        try:
            return await self._reader.run(work)
        except DATABASE_ERRORS as error:
            self._tell(error)
            return otherwise

    async def _write(self, work: Callable[[Any], object]) -> None:
        try:
            if await self._writer.run(work):
                self._failing = False
        except DATABASE_ERRORS as error:
            self._tell(error)

    def _tell(self, error: Exception) -> None:
        """Once, until something could be written again."""
        if not self._failing:
            self._failing = True
            log.warning("what is remembered cannot be read or written: %s", reason(error))


def _with_checksum(value: bytes) -> bytes:
    """With a checksum: after a power cut a large value may be there without its bytes."""
    return zlib.crc32(value).to_bytes(4, "big") + value


def _without_checksum(value: bytes | None) -> bytes | None:
    if value is None or zlib.crc32(memoryview(value)[4:]).to_bytes(4, "big") != value[:4]:
        return None
    return value[4:]
