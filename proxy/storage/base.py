"""Contracts of storage: blobs by digest, and records by key."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Set
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.model import Blob
from proxy.storage.keys import Key, RecordKind


class BlobEntry(msgspec.Struct, frozen=True):
    key: str
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds."""


class BlobStore(Protocol):
    """Complete, verified files by the sha256 (lowercase hex) of their content.

    The methods raise ``ValueError`` for a key that is not a sha256, and those that read
    ``StoreUnavailable`` if the store is on another machine that does not answer.
    """

    async def get(self, key: str) -> Blob | None:
        """A blob whose ``key`` is this one; None if it is absent or cannot be opened."""

    async def put(self, key: str, content: Path | bytes) -> None:
        """Store bytes, or move a complete file into the store; returns when it is on the disk.

        Raises ``OSError``; then the file stays.
        """

    async def delete(self, *keys: str) -> None:
        """Delete blobs, as far as they are there. Raises ``OSError``."""

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


class Eviction(Protocol):
    """Keeps a store below its limit."""

    max_size: int | None
    """Bytes; None: no limit."""

    @property
    def total(self) -> int:
        """Bytes of the blobs, as far as they are known."""

    def room(self, size: int) -> AbstractAsyncContextManager[None]:
        """As ``Room``."""

    async def enforce(self, added: int = 0) -> None:
        """Called at the start, and with the bytes of blobs that were put without ``room``."""

    def start_sweeping(self) -> None:
        """Delete regularly what is too old or unused."""

    async def evict(self) -> bool:
        """Delete now what is over the limit, too old or unused. False: another one is doing that.

        Raises ``StoreUnavailable`` and ``OSError``.
        """


class Records(Protocol):
    """Small values by key that survive a restart, shared by all processes that use the cache.

    A cache: a stored value may be gone. A failed read is a miss, a failed write a log line;
    neither raises.
    """

    @property
    def failures(self) -> int:
        """How many reads and writes of this process have failed: if the number is the same after
        a read as before, what the read has not found is absent."""

    async def get(self, key: Key) -> bytes | None: ...

    async def put(self, key: Key, value: bytes) -> None: ...

    async def put_if(
        self, key: Key, test: Callable[[bytes | None], bool], values: Mapping[Key, bytes | None]
    ) -> bool:
        """Write all the values if ``test`` accepts the present value of ``key``; else none.

        None as a value forgets the record. Other processes cannot write between the test and the
        writes. ``test`` may run in a thread, and more than once. Returns whether the values were
        written.
        """

    async def forget(self, key: Key) -> None: ...

    async def keys(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        """All keys of the kind whose first parts are these, sorted; without a kind, all keys."""
