"""A bare directory of distributions as an index, for one run: nothing of it is remembered."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from proxy.events import Events
from proxy.indexes.local import LocalDirectory


class MemoryRecords:
    """Records that end with the process."""

    def __init__(self) -> None:
        self._records: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self._records.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self._records[key] = value

    async def forget(self, key: str) -> None:
        self._records.pop(key, None)

    async def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self._records if key.startswith(prefix))


@asynccontextmanager
async def open_directory(root: Path, *, legacy: bool = False) -> AsyncIterator[LocalDirectory]:
    """The directory as it is now; files of the kinds of old only if ``legacy``."""
    records = MemoryRecords()
    found = LocalDirectory(
        root.name or str(root), root, records, Events(), legacy=legacy, watch=False
    )
    await found.open()
    try:
        yield found
    finally:
        await found.close()
