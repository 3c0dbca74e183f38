"""Publishers over object stores: each is a replica, and several may share one store."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.publish import Publisher
from proxy.publish.objects import ObjectIndex, ObjectLog, ObjectPackages
from proxy.scale import ObjectBlobs, ObjectCalls
from tests.support.clock import Clock
from tests.support.directories import HeardChanges
from tests.support.memory_store import MemoryStore
from tests.support.publishing import publishing_to


class StoreAround:
    """A store with something before or after its requests."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.requests: list[str] = []
        """Each as ``put v1/…``."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def get_async(self, path: str, **options: Any) -> Any:
        await self.before(f"get {path}")
        return await self._store.get_async(path, **options)

    async def put_async(self, path: str, content: Any, **options: Any) -> Any:
        await self.before(f"put {path}")
        done = await self._store.put_async(path, content, **options)
        await self.after(f"put {path}")
        return done

    async def delete_async(self, paths: list[str]) -> None:
        await self.before(f"delete {paths[0]}")
        await self._store.delete_async(paths)

    async def before(self, request: str) -> None:
        self.requests.append(request)

    async def after(self, request: str) -> None: ...


class ObjectPublisher(Publisher):
    """A publisher with the parts of its place."""

    packages: ObjectPackages

    @property
    def index(self) -> ObjectIndex:
        return self.packages.index

    @property
    def log(self) -> ObjectLog:
        return self.packages.index.log


@asynccontextmanager
async def replica(
    store: Any,
    folder: Path,
    upstream: Collection[str] = (),
    clock: Clock | None = None,
    heard: HeardChanges | None = None,
    name: str = "private",
    monotonic: Callable[[], float] = time.monotonic,
    **limits: Any,
) -> AsyncIterator[ObjectPublisher]:
    """``folder``: for spool files. The others as for ``publishing_to``."""
    async with ObjectCalls(store) as calls:
        log = ObjectLog(name, calls, monotonic)
        blobs = ObjectBlobs(calls, folder / "spool", MemoryStore())
        events = HeardChanges() if heard is None else heard
        index = ObjectIndex(name, "s3://bucket", log, blobs.open, events, extra_files=True)
        await log.open(index.announce)
        packages = ObjectPackages(index, folder / "incoming", spread=0.0)
        made = publishing_to(packages, ObjectPublisher, upstream, clock, name, **limits)
        try:
            async with made as publisher:
                yield publisher
        finally:
            await log.close()
            await blobs.close()
