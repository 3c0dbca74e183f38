"""The cache folder, opened: its blob store, its records, and eviction.

Needs no network, unless the settings say that files are elsewhere.

```text
<cache>/blob/<aa>/<sha256>   files, by the sha256 of their content
<cache>/records/             pages, cached files, last-used times (diskcache)
<cache>/spool/               files that are still arriving
<cache>/import/              members of a bundle, until all of them are checked
<cache>/private-names        names that never go upstream, and the directories they are from
<cache>/refreshed            the log of projects whose stored pages running servers read again
<cache>/purged               the purge log, by which running servers drop purged data too
<cache>/keep                 locked by the one process that runs keep tables
<cache>/lock                 locked by the one process that evicts files
<cache>/lock.size            the size of all files, as all processes know it
```
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from proxy.composition.open_records import open_records
from proxy.composition.open_storage import BlobParts, open_blobs
from proxy.config import Settings, cache_folder
from proxy.errors import ConfigurationError, reason
from proxy.events import Observer
from proxy.runtime import open_spool, remove_abandoned
from proxy.storage import (
    NO_LEASES,
    Announce,
    BlobStore,
    Claims,
    Eviction,
    LastUsed,
    Leases,
    Pins,
    PurgeLog,
    Records,
    StoredPages,
)

if TYPE_CHECKING:
    from proxy.scale import ObjectCalls, RedisLeases, SharedClaims

log = logging.getLogger(__name__)

PRIVATE_NAMES = "private-names"


class Cache(msgspec.Struct, frozen=True):
    folder: Path
    store: BlobStore
    records: Records
    pages: StoredPages
    used: LastUsed
    evictor: Eviction
    purges: PurgeLog
    refreshes: PurgeLog
    """Of projects whose pages and files other processes have changed."""
    pins: Pins
    claims: Claims
    objects: ObjectCalls | None = None
    """The requests to an object store that has the files; None: they are in a folder."""
    page_leases: Leases = NO_LEASES
    file_leases: Leases = NO_LEASES
    announce: Announce | None = None
    """Has other replicas read the pages of projects again; None: there are none."""
    shared_claims: SharedClaims | None = None
    """The private names that replicas share."""
    redis: RedisLeases | None = None
    """Where records are in Redis: the turns that it has given, and whether it answers."""

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    async def tidy(self, *, evict: bool) -> None:
        """At the start of a server: remove abandoned spool files; ``evict``: enforce the limit.

        Logs a warning now, not with the first file, if the folder cannot be written.
        """
        await asyncio.to_thread(remove_abandoned, self.spool)
        await asyncio.to_thread(self._try_to_write)
        if evict:
            await self.evictor.enforce()
            self.evictor.start_sweeping()

    def _try_to_write(self) -> None:
        try:
            fd, path = open_spool(self.spool)
        except OSError as error:
            why = reason(error)
            log.warning("%s cannot be written (%s): nothing new is stored", self.folder, why)
        else:
            path.unlink(missing_ok=True)
            os.close(fd)


def require_folder(folder: Path) -> None:
    """Create the folder if it is missing; an existing one may be read-only.

    Raises ``ConfigurationError`` if it cannot be created or read, or is not a folder.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        problem = f"{folder} is not a folder, or lies below a file"
        raise ConfigurationError("cache_dir", problem, "name another one") from None
    except OSError as error:
        problem = f"{folder} cannot be created: {reason(error)}"
        raise ConfigurationError("cache_dir", problem, "name one that can be written") from None
    if not os.access(folder, os.R_OK | os.X_OK):
        problem = f"{folder} cannot be read: {os.strerror(errno.EACCES)}"
        raise ConfigurationError("cache_dir", problem, "let the user of the proxy read it")
    for part in (folder / "records", folder / "blob", folder / "spool"):
        if os.path.lexists(part) and not part.is_dir():
            problem = f"{part} is not a folder"
            raise ConfigurationError("cache_dir", problem, "name another cache folder")


@asynccontextmanager
async def open_cache(
    settings: Settings,
    clock: Callable[[], float] = time.time,
    events: Observer = lambda event: None,
) -> AsyncIterator[Cache]:
    """Open the cache; opening deletes nothing. ``events`` receives ``Evicted``.

    Raises ``ConfigurationError`` if the folder cannot be used as a cache.
    """
    folder = cache_folder(settings)
    require_folder(folder)
    async with AsyncExitStack() as stack:
        shared = await stack.enter_async_context(open_records(settings, folder))
        pins = Pins(shared.records)
        used = await stack.enter_async_context(LastUsed(shared.records, clock=clock))
        parts = BlobParts(settings, folder, used, pins, clock, events, shared.file_leases)
        blobs = await stack.enter_async_context(open_blobs(parts))
        claims = Claims(folder / PRIVATE_NAMES)
        records = shared.records
        if shared.redis and blobs.objects:  # Redis may be emptied at any time
            from proxy.scale import CopiedRecords  # most servers are alone

            copied = CopiedRecords(records, blobs.objects, clock)
            records = await stack.enter_async_context(copied)
        yield Cache(
            folder=folder,
            store=blobs.store,
            records=records,
            pages=StoredPages(records, clock, shared.announce),
            used=used,
            evictor=blobs.evictor,
            purges=shared.purges,
            refreshes=shared.refreshes,
            pins=pins,
            claims=claims,
            objects=blobs.objects,
            page_leases=shared.page_leases,
            file_leases=shared.file_leases,
            announce=shared.announce,
            shared_claims=shared.share_claims(claims),
            redis=shared.redis,
        )
