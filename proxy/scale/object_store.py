"""``BlobStore`` in an object store, with copies on the local disk if the settings say so.

Keys are ``v1/blob/<aa>/<sha256>``. A stored blob never changes, so that any number of machines may
put the same blob at the same time.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import re
from collections.abc import AsyncIterator, Callable, Collection, Set
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from proxy.errors import StoreUnavailable, reason
from proxy.model import Blob
from proxy.runtime import in_thread
from proxy.scale.object_calls import ObjectCalls
from proxy.scale.remote_blob import BlobReads, RemoteBlob
from proxy.storage import BlobEntry, DiskStore, Room

log = logging.getLogger(__name__)

PREFIX = "v1/blob/"
"""Before the keys of cached blobs: eviction deletes what is below it, and nothing else."""
ASK_EACH = 64
"""Blobs of which each is asked for; for more, the blobs with the same first digits are listed."""
PARALLEL_REQUESTS = 16
"""Requests at a time."""
_BLOB_KEY = re.compile(r"[0-9a-f]{64}", re.ASCII)


class LocalCopies(NamedTuple):
    """A store on the local disk in front of the object store."""

    store: DiskStore
    room: Room
    used: Callable[[str], None]
    """Called with the key of a blob whose copy is used."""


class ObjectStore:
    """Blobs that many machines share. While entered, running reads may continue."""

    def __init__(
        self,
        calls: ObjectCalls,
        spool: Path,
        copies: LocalCopies | None = None,
        *,
        signs: bool = False,
    ) -> None:
        """``spool``: a folder for blobs that are being read. ``copies``: of all that pass by.
        ``signs``: large blobs have signed addresses."""
        self._calls = calls
        self._signs = signs
        self._copies = copies
        self._local = copies.store if copies else None
        room = copies.room if copies else None
        self._reads = BlobReads(calls, spool, self._delete_wrong, self._local or self, room)
        self._slots = asyncio.Semaphore(PARALLEL_REQUESTS)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._reads.close(0.0)

    async def get(self, key: str) -> Blob | None:
        path = path_of(key)
        if self._copies and (copy := await self._copies.store.get(key)):
            self._copies.used(key)
            return copy
        await self._reads.wait_deleted(key)
        if self._signs:  # most clients get the bytes from the store itself
            size = await self._calls.size(path)
            return None if size is None else RemoteBlob(self._reads, path, key, size, signs=True)
        found = await self._calls.get(path)  # head and bytes with one request
        return RemoteBlob(self._reads, path, key, found.meta["size"], found) if found else None

    async def put(self, key: str, content: Path | bytes) -> None:
        """As ``BlobStore``; the local store keeps the file also if the other one does not."""
        path = path_of(key)
        failed = await self._put_there(path, content)
        if not await self._keep(key, content) and failed is None and isinstance(content, Path):
            await in_thread(content.unlink, missing_ok=True)
        if failed is not None:
            raise failed

    async def _put_there(self, path: str, content: Path | bytes) -> OSError | None:
        try:
            await self._calls.put(path, content)
        except StoreUnavailable as error:
            failed = OSError(errno.EIO, "the object store does not take it")
            failed.__cause__ = error
            return failed
        return None

    async def _keep(self, key: str, content: Path | bytes) -> bool:
        """Whether the local store has it now."""
        if self._copies is None:
            return False
        try:
            async with self._copies.room(await in_thread(_size, content)):
                await self._copies.store.put(key, content)
        except OSError as error:
            log.warning("no local copy of a file is kept: %s", reason(error))
            return False
        return True

    async def delete(self, *keys: str) -> None:
        paths = list(map(path_of, keys))
        if self._local:
            await self._local.delete(*keys)
        try:
            await self._calls.delete(paths)
        except StoreUnavailable as error:
            raise OSError(errno.EIO, "the object store does not delete it") from error

    async def has(self, key: str) -> bool:
        path = path_of(key)
        if self._local and await self._local.has(key):
            return True
        return await self._calls.size(path) is not None

    async def present(self, keys: Collection[str]) -> Set[str]:
        """Few blobs are asked for one by one; of many, all that begin as one of them are listed."""
        paths = {path_of(key): key for key in keys}
        found = set(await self._local.present(keys)) if self._local else set()
        rest = [path for path, key in paths.items() if key not in found]
        if len(rest) <= ASK_EACH:
            answers = await asyncio.gather(*map(self._head, rest))
            there = {path for path, is_there in zip(rest, answers, strict=True) if is_there}
        else:
            folders = {path.rpartition("/")[0] for path in rest}
            there = set().union(*await asyncio.gather(*map(self._listed, folders))) & set(rest)
        return found | {paths[path] for path in there}

    async def _head(self, path: str) -> bool:
        async with self._slots:
            return await self._calls.size(path) is not None

    async def _listed(self, folder: str) -> set[str]:
        async with self._slots:
            return {each.path async for part in self._calls.list(f"{folder}/") for each in part}

    async def entries(self) -> AsyncIterator[BlobEntry]:
        async for part in self._calls.list(PREFIX):
            for each in part:
                key = each.path.rpartition("/")[2]
                if _BLOB_KEY.fullmatch(key):
                    yield BlobEntry(key, each.size, each.stored)

    async def _delete_wrong(self, key: str) -> None:
        try:
            await self._calls.delete([path_of(key)])
        except StoreUnavailable:
            return  # it is found again at the next read


def path_of(key: str) -> str:
    """Raises ``ValueError`` for a key that is not a sha256."""
    if not _BLOB_KEY.fullmatch(key):
        raise ValueError("a key of the store is a sha256 in lowercase hex")
    return f"{PREFIX}{key[:2]}/{key}"


def _size(content: Path | bytes) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size
