"""Records in memory that count, for tests."""

from __future__ import annotations

from proxy.storage.claims import Claims
from proxy.storage.in_memory import MemoryRecords
from proxy.storage.keys import Key


class CountedRecords(MemoryRecords):
    """Counts reads and writes; the content survives the objects that use it."""

    def __init__(self) -> None:
        super().__init__()
        self.claims = Claims()
        """Of a cache with these records."""
        self.reads = 0
        self.writes = 0

    async def get(self, key: Key) -> bytes | None:
        self.reads += 1
        return await super().get(key)

    async def put(self, key: Key, value: bytes) -> None:
        self.writes += 1
        await super().put(key, value)
