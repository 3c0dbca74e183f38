"""The cache folder opened: store, records and what keeps them in bounds. Needs no network.

```text
<cache>/blob/<aa>/<sha256>   files, by the sha256 of their content
<cache>/records/             pages, what is held, last-used times (diskcache)
<cache>/spool/               files that are still arriving
<cache>/purged               touched by a purge, so that running servers forget too
```
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_cache_path

from proxy.settings import Settings
from proxy.storage.disk import DiskStore
from proxy.storage.eviction import Evictor, LastUsed
from proxy.storage.leftovers import clean_spool
from proxy.storage.pages import Pages
from proxy.storage.records import DiskRecords


@dataclass(frozen=True, slots=True)
class Cache:
    folder: Path
    store: DiskStore
    records: DiskRecords
    pages: Pages
    used: LastUsed
    evictor: Evictor

    @property
    def spool(self) -> Path:
        return self.folder / "spool"

    def purge_stamp(self) -> int:
        """Changes with every purge, whichever process did it."""
        try:
            return (self.folder / "purged").stat().st_mtime_ns
        except OSError:
            return 0

    def stamp_purge(self) -> None:
        (self.folder / "purged").touch()


def cache_folder(settings: Settings) -> Path:
    return (settings.cache_dir or user_cache_path("waystation", appauthor=False)).absolute()


@asynccontextmanager
async def open_cache(
    settings: Settings, clock: Callable[[], float] = time.time
) -> AsyncIterator[Cache]:
    """Raises ``ConfigurationError`` where the folder cannot serve as a cache."""
    folder = cache_folder(settings)
    records = DiskRecords(folder / "records")
    try:
        store = DiskStore(folder / "blob")
        async with LastUsed(records, clock=clock) as used:
            evictor = Evictor(
                store, used, int(settings.max_size) or None, lock=folder / "lock", clock=clock
            )
            await asyncio.to_thread(clean_spool, folder / "spool")
            await evictor.enforce()
            yield Cache(folder, store, records, Pages(records), used, evictor)
    finally:
        await records.close()
