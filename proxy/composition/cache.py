"""The cache folder, opened: its blob store, its records, and eviction. Needs no network.

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
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.config import Settings, cache_folder
from proxy.errors import ConfigurationError, reason
from proxy.events import Evicted, Observer
from proxy.runtime import open_spool, remove_abandoned
from proxy.storage import (
    BlobStore,
    Claims,
    DiskRecords,
    DiskStore,
    Evictor,
    FilePurgeLog,
    LastUsed,
    Lifetime,
    Pins,
    PurgeLog,
    Records,
    StoredPages,
)

log = logging.getLogger(__name__)

PRIVATE_NAMES = "private-names"


@dataclass(frozen=True, slots=True)
class Cache:
    folder: Path
    store: BlobStore
    records: Records
    pages: StoredPages
    used: LastUsed
    evictor: Evictor
    purges: PurgeLog
    refreshes: PurgeLog
    """Of projects whose pages and files other processes have changed."""
    pins: Pins
    claims: Claims

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
    records = DiskRecords(folder / "records")
    try:
        store = DiskStore(folder / "blob", folder / "spool")
        pins = Pins(records)
        async with LastUsed(records, clock=clock) as used:
            evictor = Evictor(
                store,
                used,
                int(settings.max_size) or None,
                lock=folder / "lock",
                lifetime=Lifetime(settings.max_age, settings.max_unused),
                clock=clock,
                busy=store.busy,
                pinned=pins.all,
                deleted=lambda files, size: events(Evicted(files, size)),
            )
            purges = FilePurgeLog(folder / "purged")
            refreshes = FilePurgeLog(folder / "refreshed")
            claims = Claims(folder / PRIVATE_NAMES)
            pages = StoredPages(records, clock)
            async with evictor:
                yield Cache(
                    folder, store, records, pages, used, evictor, purges, refreshes, pins, claims
                )
    finally:
        await records.close()
