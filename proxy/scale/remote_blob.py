"""Blobs of an object store: verified while they are read, from upstream if the store fails.

A blob that is read is a download like one from upstream: one for all readers of this process,
through a spool file, with its end withheld until the digest is verified.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from proxy.errors import DigestMismatch, NotFound, StoreDamaged, StoreUnavailable, UpstreamError
from proxy.model import Blob, Span
from proxy.runtime import PIECE_SIZE
from proxy.scale.object_calls import ObjectCalls
from proxy.storage import BlobStore, Room, as_local_file, no_limit
from proxy.upstream import Body, Download, Downloads, Expected

if TYPE_CHECKING:
    from obstore import GetResult

log = logging.getLogger(__name__)
T = TypeVar("T")

RECENT_FOR = 30.0
"""Seconds after the begin of a read in which it serves others too, where no copies are kept."""
RECENT_BYTES = 256 * 2**20
"""Bytes of all such reads."""
IN_MEMORY = 2**18
"""Bytes of a blob that is read again instead: it would be kept in memory."""
LARGEST_COPY = 64 * 2**20
"""Bytes of a blob that is copied so that a part of it can be read, such as its metadata."""
SIGNED_FROM = 2**20
"""Bytes of a blob that clients get at a signed address: of smaller ones, another request would
take longer than the bytes."""
SIGNED_FOR = 300.0
"""Seconds for which an address can be used."""
NAME = "object store"
"""In place of the name of an index, in log lines about its downloads."""


class BlobReads:
    """The running reads from a store, and what happens to wrong blobs and to those that came."""

    def __init__(
        self,
        calls: ObjectCalls,
        spool: Path,
        wrong: Callable[[str], Awaitable[None]],
        copies: BlobStore,
        room: Room | None,
    ) -> None:
        """``wrong`` is called with the key of a blob that has other bytes.

        What was read is put into ``copies`` after ``room`` was made there; None: it is not kept.
        """
        self.calls = calls
        self.spool = spool
        self._wrong = wrong
        self._downloads = Downloads(
            copies, spool, room=room or no_limit, retries=1, backoff=0.0, keeps=room is not None
        )
        self._deleting: dict[str, asyncio.Future[None]] = {}
        """By the keys of the wrong blobs."""
        self._recent: dict[str, Download] | None = {} if room is None else None

    def start(self, source: BlobSource) -> Download:
        """The running read of that blob, one that has just ended, or a new one."""
        key, size = source.key, source.size
        if self._recent and (recent := self._recent.get(key)) and recent.joinable:
            return recent
        expected = Expected(NAME, f"blob {key}", {"sha256": key}, size, size)
        started = self._downloads.start(key, expected, source.open, _nothing, source.distrust)
        if self._recent is not None and IN_MEMORY < size <= RECENT_BYTES:
            self._remember(self._recent, key, started)
        return started

    def _remember(self, recent: dict[str, Download], key: str, started: Download) -> None:
        """Keep its spool file: clients ask for parts one after the other, and many for one file."""
        recent[key] = started

        def forget() -> None:
            if recent.get(key) is started:
                del recent[key]

        asyncio.get_running_loop().call_later(RECENT_FOR, forget)
        while sum(each.size or 0 for each in recent.values()) > RECENT_BYTES:
            del recent[next(iter(recent))]

    def delete_wrong(self, key: str) -> asyncio.Future[None]:
        """Delete a blob in the background."""
        if key not in self._deleting:
            task = self._deleting[key] = asyncio.ensure_future(self._wrong(key))
            task.add_done_callback(lambda done: self._deleting.pop(key))
        return self._deleting[key]

    async def wait_deleted(self, key: str) -> None:
        """Wait while a wrong blob is deleted: the next reader would get the same bytes."""
        if task := self._deleting.get(key):
            await asyncio.wait({task})

    async def close(self, grace: float) -> None:
        """Running reads get ``grace`` seconds to finish."""
        await self._downloads.close(grace)
        await asyncio.gather(*self._deleting.values(), return_exceptions=True)


class BlobSource:
    """The source of the bytes of one read: the store, and after an error the other blob."""

    def __init__(
        self,
        reads: BlobReads,
        path: str,
        key: str,
        size: int,
        found: GetResult | None,
        other: Blob | None,
    ) -> None:
        self.key = key
        self.size = size
        self._reads = reads
        self._path = path
        self._found = found
        self._other = other
        self._failed = False
        self._deleting: asyncio.Future[None] | None = None

    @asynccontextmanager
    async def open(self, start: int, etag: str | None) -> AsyncIterator[Body]:
        """As ``Fetch``."""
        found = None if self._failed else await self._answer(start, etag)
        if found is not None:
            first, stop = found.range
            tag = found.meta["e_tag"]
            strong = tag if tag and not tag.startswith("W/") else None
            yield Body(self._chunks(found), found.meta["size"], first, stop, strong)
        elif self._other is not None:
            if self._deleting:
                await self._deleting  # else it could delete the right blob, which is put then
            async with aclosing(_as_upstream(self._other)) as chunks:
                yield Body(chunks, self.size)
        else:
            raise UpstreamError(NAME, f"blob {self.key} cannot be read")

    async def _answer(self, start: int, etag: str | None) -> GetResult | None:
        found, self._found = self._found, None
        try:
            if start or found is None:
                found = await self._reads.calls.get(self._path, start, etag)
        except StoreUnavailable:
            found = None
        self._failed = found is None
        return found

    async def _chunks(self, found: GetResult) -> AsyncIterator[bytes]:
        try:
            async for chunk in self._reads.calls.chunks(found, PIECE_SIZE):
                yield chunk
        except StoreUnavailable as error:
            self._failed = True
            raise UpstreamError(NAME, f"blob {self.key} broke off") from error

    def distrust(self, error: DigestMismatch) -> bool:
        """The bytes were wrong. Whether another source may have the right ones."""
        if self._failed:
            return False
        self._failed = True
        self._deleting = self._reads.delete_wrong(self.key)
        return self._other is not None


class RemoteBlob(Blob):
    """A blob whose head has come from the store; its bytes come when they are read."""

    def __init__(
        self,
        reads: BlobReads,
        path: str,
        key: str,
        size: int,
        found: GetResult | None = None,
        *,
        signs: bool = False,
    ) -> None:
        """``found``: its head, if that was read. ``signs``: if large, it has a signed address."""
        self._reads = reads
        self._path = path
        self._key = key
        self._size = size
        self._found = found
        self._other: Blob | None = None
        self._signs = signs

    @property
    def key(self) -> str:
        return self._key

    @property
    def size(self) -> int:
        return self._size

    async def length(self) -> int:
        return self._size

    @asynccontextmanager
    async def as_file(self) -> AsyncIterator[Path | None]:
        if self._size > LARGEST_COPY:
            yield None
            return
        async with as_local_file(self, self._reads.spool) as path:
            yield path

    def backed_by(self, other: Blob) -> Blob:
        self._other = other
        return self

    async def address(self) -> str:
        if not self._signs or self._size < SIGNED_FROM:
            return ""
        try:
            return await self._reads.calls.sign(self._path, SIGNED_FOR)
        except StoreUnavailable:
            return ""

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """As ``Blob``. Raises ``StoreDamaged``, and ``StoreUnavailable``."""
        return self._read(lambda blob: blob.chunks(start, stop))

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Span | bytes, None]:
        return self._read(lambda blob: blob.spans(start, stop))

    async def _read(
        self, read: Callable[[Download], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        found, self._found = self._found, None  # its bytes can be read once
        source = BlobSource(self._reads, self._path, self._key, self._size, found, self._other)
        try:
            async with aclosing(read(self._reads.start(source))) as pieces:
                async for piece in pieces:
                    yield piece
        except DigestMismatch as error:
            raise StoreDamaged(self._key) from error
        except UpstreamError as error:
            raise StoreUnavailable from error


class _ObjectBlob(RemoteBlob):
    """An object that is in no ``BlobStore``."""

    @property
    def key(self) -> None:  # type: ignore[override]
        return None


class ObjectBlobs:
    """Objects of any path as blobs, verified while they are read."""

    def __init__(self, calls: ObjectCalls, spool: Path, copies: BlobStore) -> None:
        """As ``BlobReads``; no copies are kept."""
        self._reads = BlobReads(calls, spool, _keep_wrong, copies, None)

    def open(self, path: str, sha256: str, size: int) -> Blob:
        return _ObjectBlob(self._reads, path, sha256, size)

    async def close(self, grace: float = 0.0) -> None:
        await self._reads.close(grace)


async def _keep_wrong(key: str) -> None:
    """There is no other copy: the operator may bring the right bytes back."""
    log.error("the published file with the sha256 %s is damaged in the object store", key)


async def _as_upstream(blob: Blob) -> AsyncGenerator[bytes, None]:
    """The bytes; that upstream has no such file either is no answer while the store fails."""
    try:
        async with aclosing(blob.chunks()) as chunks:
            async for chunk in chunks:
                yield chunk
    except NotFound as error:
        raise UpstreamError(NAME, f"neither it nor upstream has the bytes: {error}") from error


async def _nothing(sha256: str, size: int) -> None:
    """Nothing has to be recorded of a copy."""
