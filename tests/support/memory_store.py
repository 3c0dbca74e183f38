"""A blob store without files: its blobs have no path and no spans, as those of a remote store."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Collection, Set
from pathlib import Path

from proxy.model import Blob
from proxy.storage.base import BlobEntry
from proxy.storage.in_memory import BytesBlob

STORED = 1_000_000.0
"""Unix time in seconds at which all blobs were put."""


class MemoryStore:
    """``BlobStore``; reading a deleted blob that was opened before is not an error."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    async def get(self, key: str) -> Blob | None:
        data = self.content.get(_checked(key))
        return None if data is None else BytesBlob(data, key)

    async def put(self, key: str, content: Path | bytes) -> None:
        if isinstance(content, bytes):
            self.content[_checked(key)] = content
            return
        self.content[_checked(key)] = content.read_bytes()
        content.unlink()

    async def delete(self, *keys: str) -> None:
        for key in keys:
            self.content.pop(_checked(key), None)

    async def has(self, key: str) -> bool:
        return _checked(key) in self.content

    async def present(self, keys: Collection[str]) -> Set[str]:
        return {key for key in keys if _checked(key) in self.content}

    async def entries(self) -> AsyncIterator[BlobEntry]:
        for key, data in list(self.content.items()):
            yield BlobEntry(key, len(data), STORED)


def _checked(key: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", key):
        raise ValueError("a key of the store is a sha256 in lowercase hex")
    return key
