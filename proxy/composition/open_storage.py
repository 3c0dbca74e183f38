"""Where the files are: on the local disk, in a folder of many machines, or in an object store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from proxy.config import Settings, StorageTable
from proxy.events import Evicted, Observer
from proxy.scale import (
    Hold,
    Janitor,
    LocalCopies,
    ObjectCalls,
    ObjectStore,
    lock_of_machine,
    open_object_store,
    probe_until_it_answers,
)
from proxy.storage import (
    BlobStore,
    DiskStore,
    Eviction,
    Evictor,
    LastUsed,
    Lifetime,
    MemoryRecords,
    Pins,
)

LAYOUT = "v1"
"""The folder below the one of ``file:``, as in an object store: the content of one can be copied
to the other."""


@dataclass(frozen=True, slots=True)
class OpenBlobs:
    store: BlobStore
    evictor: Eviction
    objects: ObjectCalls | None = None
    """The requests to an object store; None: the files are in a folder."""


@dataclass(frozen=True, slots=True)
class BlobParts:
    """What opening a store needs besides the settings of it."""

    settings: Settings
    folder: Path
    """Of the cache."""
    used: LastUsed
    pins: Pins
    clock: Callable[[], float]
    events: Observer
    hold: Hold | None = None
    """The lease of the one that evicts from an object store; None: nothing is shared."""

    @property
    def limit(self) -> int | None:
        return int(self.settings.max_size) or None

    @property
    def lifetime(self) -> Lifetime:
        return Lifetime(self.settings.max_age, self.settings.max_unused)

    def deleted(self, files: int, size: int) -> None:
        self.events(Evicted(files, size))


@asynccontextmanager
async def open_blobs(parts: BlobParts) -> AsyncIterator[OpenBlobs]:
    """Raises ``ConfigurationError`` if the library of object stores is missing."""
    table = parts.settings.storage
    async with AsyncExitStack() as stack:
        if table is None or table.files is None:
            root, lock = parts.folder / "blob", parts.folder / "lock"
            yield await _in_folder(parts, root, parts.folder / "spool", lock, stack)
        elif table.files_are_local:
            shared = Path(urlsplit(table.files).path) / LAYOUT
            lock = shared / "lock"
            yield await _in_folder(parts, shared / "blob", shared / "spool", lock, stack)
        else:
            yield await _in_object_store(parts, table, table.files, stack)


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
        pinned=parts.pins.all,
        deleted=parts.deleted,
    )
    return OpenBlobs(store, await stack.enter_async_context(evictor))


async def _in_object_store(
    parts: BlobParts, table: StorageTable, url: str, stack: AsyncExitStack
) -> OpenBlobs:
    client = await stack.enter_async_context(open_object_store(url))
    calls = await stack.enter_async_context(ObjectCalls(client))
    copies, local = await _local_copies(parts, table, stack)
    store = ObjectStore(calls, parts.folder / "spool", copies)
    await stack.enter_async_context(store)
    janitor = Janitor(
        calls,
        store,
        parts.used,
        parts.limit,
        every=table.evict_every,
        hold=parts.hold or lock_of_machine(parts.folder / "lock"),
        lifetime=parts.lifetime,
        clock=parts.clock,
        pinned=parts.pins.all,
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
    store = DiskStore(parts.folder / "blob", parts.folder / "spool")
    used = LastUsed(MemoryRecords(), clock=parts.clock)  # the shared ones are of the object store
    evictor = Evictor(
        store,
        used,
        int(table.local_cache),
        lock=parts.folder / "lock",
        clock=parts.clock,
        busy=store.busy,
        pinned=parts.pins.all,
    )
    await stack.enter_async_context(evictor)
    return LocalCopies(store, evictor.room, used.note), evictor


@asynccontextmanager
async def probing_store(settings: Settings, objects: ObjectCalls | None) -> AsyncIterator[None]:
    """Ask an object store in the background what it can do; nothing waits for the answer."""
    if objects is None or settings.storage is None:
        yield
        return
    task = asyncio.create_task(probe_until_it_answers(objects, settings.storage.files or ""))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
