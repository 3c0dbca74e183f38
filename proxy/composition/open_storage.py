"""Opens the store of files: on the local disk, in a shared folder, or in an object store."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

import msgspec

from proxy.config import Settings, StorageTable
from proxy.errors import ConfigurationError
from proxy.events import Evicted, Observer, StoreFailed
from proxy.runtime import end_tasks, size_text
from proxy.storage import (
    BlobStore,
    DiskStore,
    Eviction,
    Evictor,
    LastUsed,
    Leases,
    Lifetime,
    MemoryRecords,
    Pins,
)

if TYPE_CHECKING:
    from proxy.scale import Hold, LocalCopies, ObjectCalls

LAYOUT = "v1"
"""The folder below the one of ``file:``, as in an object store: the content of one can be copied
to the other."""


class OpenBlobs(msgspec.Struct, frozen=True):
    store: BlobStore
    evictor: Eviction
    objects: ObjectCalls | None = None
    """The requests to an object store; None: the files are in a folder."""


class BlobParts(msgspec.Struct, frozen=True):
    """The parts that opening a store needs, beyond its settings."""

    settings: Settings
    folder: Path
    """Of the cache."""
    used: LastUsed
    pins: Pins
    clock: Callable[[], float]
    events: Observer
    leases: Leases
    """Of work on files that replicas share."""

    @property
    def hold(self) -> Hold:
        """The lease under which a process evicts from an object store."""
        from proxy.scale import lease_of_all, lock_of_machine

        if self.leases.shared:
            return lease_of_all(self.leases)
        return lock_of_machine(self.folder / "lock")

    @property
    def limit(self) -> int | None:
        return int(self.settings.max_size) or None

    @property
    def lifetime(self) -> Lifetime:
        return Lifetime(self.settings.max_age, self.settings.max_unused)

    def deleted(self, files: int, size: int) -> None:
        self.events(Evicted(files, size))

    def failed(self, what: Literal["read", "write"]) -> None:
        self.events(StoreFailed("files", what))


@asynccontextmanager
async def open_blobs(parts: BlobParts) -> AsyncIterator[OpenBlobs]:
    """Raises ``ConfigurationError`` if the library or the folder is missing."""
    table = parts.settings.storage
    async with AsyncExitStack() as stack:
        if table is None or table.files is None:
            root, lock = parts.folder / "blob", parts.folder / "lock"
            yield await _in_folder(parts, root, parts.folder / "spool", lock, stack)
        elif table.files_are_local:
            shared = _mounted(table.files) / LAYOUT
            lock = shared / "lock"
            yield await _in_folder(parts, shared / "blob", shared / "spool", lock, stack)
        else:
            yield await _in_object_store(parts, table, table.files, stack)


def _mounted(files: str) -> Path:
    """The folder; it is not created, as that would hide that nothing is mounted there."""
    folder = Path(urlsplit(files).path)
    if not folder.is_dir():
        remedy = "mount it, or create it where it is meant to be on this machine alone"
        raise ConfigurationError("storage.files", f"there is no folder {folder}", remedy)
    return folder


async def _in_folder(
    parts: BlobParts, root: Path, spool: Path, lock: Path, stack: AsyncExitStack
) -> OpenBlobs:
    store = DiskStore(root, spool)
    evictor = Evictor(
        store,
        parts.used,
        parts.limit,
        lock=lock,
        lifetime=parts.lifetime,
        clock=parts.clock,
        busy=store.busy,
        pinned=parts.pins.to_keep,
        deleted=parts.deleted,
    )
    return OpenBlobs(store, await stack.enter_async_context(evictor))


async def _in_object_store(
    parts: BlobParts, table: StorageTable, url: str, stack: AsyncExitStack
) -> OpenBlobs:
    from proxy.scale import Janitor, ObjectCalls, ObjectStore, open_object_store

    client = await stack.enter_async_context(open_object_store(url))
    calls = await stack.enter_async_context(ObjectCalls(client, parts.failed))
    copies, local = await _local_copies(parts, table, stack)
    store = ObjectStore(calls, parts.folder / "spool", copies, signs=table.redirect)
    await stack.enter_async_context(store)
    janitor = Janitor(
        calls,
        store,
        parts.used,
        parts.limit,
        every=table.evict_every,
        hold=parts.hold,
        lifetime=parts.lifetime,
        clock=parts.clock,
        pinned=parts.pins.to_keep,
        deleted=parts.deleted,
        local=local,
    )
    return OpenBlobs(store, await stack.enter_async_context(janitor), calls)


async def _local_copies(
    parts: BlobParts, table: StorageTable, stack: AsyncExitStack
) -> tuple[LocalCopies | None, Evictor | None]:
    """In the folder in which the files are without an object store."""
    if table.local_cache is None:
        return None, None
    from proxy.scale import LocalCopies

    store = DiskStore(parts.folder / "blob", parts.folder / "spool")
    used = LastUsed(MemoryRecords(), clock=parts.clock)  # the shared ones are of the object store
    evictor = Evictor(
        store,
        used,
        int(table.local_cache),
        lock=parts.folder / "lock",
        clock=parts.clock,
        busy=store.busy,
        pinned=parts.pins.to_keep,
    )
    await stack.enter_async_context(evictor)
    return LocalCopies(store, evictor.room, used.note), evictor


def storage_remarks(settings: Settings) -> Iterator[str]:
    """Remarks for the operator about files that are elsewhere."""
    table = settings.storage
    if table is None or table.files is None:
        return
    limit = size_text(int(settings.max_size)) if settings.max_size else "no limit"
    yield f"all files are in {table.files}; max_size, {limit}, is that of all machines together"
    if table.redirect:
        yield (
            "redirect: clients without credentials get files from 1 MB on at signed addresses of"
            " the store, which they have to reach and trust; each address works for 5 minutes for"
            " all that have it, and what they receive is neither verified nor counted here"
        )


async def store_problem(settings: Settings) -> str | None:
    """Try what the store can do; None: all that is needed. Raises ``ConfigurationError``."""
    table = settings.storage
    if table is None or table.files is None:
        return None
    if table.files_are_local:
        folder = _mounted(table.files)
        return None if os.access(folder, os.W_OK | os.X_OK) else "it cannot be written"
    from proxy.scale import open_object_store, problem_of_store

    async with open_object_store(table.files) as client:
        return await problem_of_store(client)


@asynccontextmanager
async def probing_store(settings: Settings, objects: ObjectCalls | None) -> AsyncIterator[None]:
    """Ask an object store in the background what it can do; nothing waits for the answer."""
    if objects is None or settings.storage is None:
        yield
        return
    from proxy.scale import probe_until_it_answers

    task = asyncio.create_task(probe_until_it_answers(objects, settings.storage.files or ""))
    try:
        yield
    finally:
        await end_tasks(task)
