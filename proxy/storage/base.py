"""What a store of bytes has to do, and nothing about how."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, nullcontext
from pathlib import Path
from typing import Protocol, TypeGuard

import msgspec

from proxy.model import Blob


class Span(msgspec.Struct, frozen=True):
    """Bytes that lie in an open file: from ``start`` up to, not including, ``stop``."""

    fd: int
    """Stays open until the next span is asked for."""
    start: int
    stop: int
    lasting: bool = False
    """Nobody writes there any more: no copy need be made of what is sent. Whoever does so all the
    same changes also what is on its way."""


class FileBlob(Blob, Protocol):
    """A blob whose bytes lie in a file, from where they go to a socket past all of our buffers."""

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Span | bytes, None]:
        """Where the bytes lie that ``chunks`` would give, under the same rules.

        What lies in no file comes as it is.
        """


class OnDemandBlob(Blob, Protocol):
    """A blob that is not here yet, and is fetched when its length is asked for or it is read."""

    async def announced(self) -> int | None:
        """Bytes, as far as can be told without fetching it."""


def is_in_file(blob: Blob) -> TypeGuard[FileBlob]:
    """Quicker than ``isinstance``, which compares a protocol's members one by one each time."""
    return hasattr(blob, "spans")


def is_on_demand(blob: Blob) -> TypeGuard[OnDemandBlob]:
    return hasattr(blob, "announced")


class BlobEntry(msgspec.Struct, frozen=True):
    key: str
    size: int
    """Bytes."""
    stored: float
    """Unix time in seconds."""


class BlobStore(Protocol):
    """Finished, verified files by the sha256 (lowercase hex) of their content."""

    async def get(self, key: str) -> FileBlob | None: ...

    async def put(self, key: str, spool: Path) -> None:
        """Take the finished file over: it is moved. Raises ``OSError``; then the spool is left."""

    async def delete(self, key: str) -> None:
        """Forget it; nothing happens if it is not there."""

    def has(self, key: str) -> bool: ...

    def entries(self) -> Iterator[BlobEntry]: ...


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
