"""Contracts of storage: blobs by digest, records by key, and the log of purges."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Set
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.model import Blob


class BlobEntry(msgspec.Struct, frozen=True):
    key: str
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds."""


class BlobStore(Protocol):
    """Complete, verified files by the sha256 (lowercase hex) of their content.

    The methods raise ``ValueError`` for a key that is not a sha256.
    """

    async def get(self, key: str) -> Blob | None:
        """A blob whose ``key`` is this one; None if it is absent or cannot be opened."""

    async def put(self, key: str, spool: Path) -> None:
        """Move a complete file into the store. Raises ``OSError``; then the file stays."""

    async def delete(self, key: str) -> None:
        """Delete a blob, if it is there. Raises ``OSError``."""

    async def has(self, key: str) -> bool: ...

    async def present(self, keys: Collection[str]) -> Set[str]:
        """Those of the keys that the store has; cheaper than one ``has`` for each."""

    def entries(self) -> AsyncIterator[BlobEntry]:
        """All blobs, in no order. A blob that is put or deleted meanwhile may be missing."""


Room = Callable[[int], AbstractAsyncContextManager[None]]
"""Makes room for a file of so many bytes, which is put into the store while it is entered."""


def no_limit(size: int) -> AbstractAsyncContextManager[None]:
    """The ``Room`` of a store without a limit."""
    return nullcontext()


class Records(Protocol):
    """Small values by key that survive a restart, shared by all processes on one cache folder.

    A cache: what was put may be gone. A failed read is a miss, a failed write a log line;
    neither raises. Keys are ``<kind>/<rest>``.
    """

    async def get(self, key: str) -> bytes | None: ...

    async def put(self, key: str, value: bytes) -> None: ...

    async def forget(self, key: str) -> None: ...

    async def keys(self, prefix: str) -> list[str]:
        """All keys that start so, sorted; for commands and start-up, not for requests."""
