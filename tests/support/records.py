"""Records in a dictionary, for tests of those who keep some."""

from __future__ import annotations

from proxy.storage.claims import Claims


class MemoryRecords:
    """Counts what is asked of it; its content survives whoever used it."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        self.claims = Claims()
        """Of a cache with these records."""
        self.reads = 0
        self.writes = 0

    async def get(self, key: str) -> bytes | None:
        self.reads += 1
        return self.content.get(key)

    async def put(self, key: str, value: bytes) -> None:
        self.writes += 1
        self.content[key] = value

    async def forget(self, key: str) -> None:
        self.content.pop(key, None)

    async def keys(self, prefix: str) -> list[str]:
        return sorted(key for key in self.content if key.startswith(prefix))
