"""Blobs and records in memory: they end with the process."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping

from proxy.model import Blob
from proxy.storage.keys import Key, RecordKind, prefix_of


class BytesBlob(Blob):
    """Bytes in memory, a generated ``.metadata`` for example."""

    def __init__(self, data: bytes, key: str | None = None) -> None:
        """``key``: the sha256, if the bytes are being written to a store."""
        self.data = data
        self._key = key

    @property
    def key(self) -> str | None:
        return self._key

    @property
    def size(self) -> int:
        return len(self.data)

    async def length(self) -> int:
        return len(self.data)

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        if piece := self.data[start:stop]:
            yield piece


class MemoryRecords:
    """``Records`` in a dictionary."""

    failures = 0

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}
        """By the text of the key."""

    async def get(self, key: Key) -> bytes | None:
        return self.content.get(key)

    async def put(self, key: Key, value: bytes) -> None:
        self.content[key] = value

    async def put_if(
        self, key: Key, test: Callable[[bytes | None], bool], values: Mapping[Key, bytes | None]
    ) -> bool:
        if not test(await self.get(key)):
            return False
        for each, value in values.items():
            await (self.forget(each) if value is None else self.put(each, value))
        return True

    async def forget(self, key: Key) -> None:
        self.content.pop(key, None)

    async def keys(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        prefix = prefix_of(kind, parts)
        return [Key.parse(text) for text in sorted(self.content) if text.startswith(prefix)]
