"""An import that is killed before the n-th thing it writes into the cache.

``python -m tests.support.kill_at_write CACHE UPSTREAM BUNDLE N``; with several numbers each has a
cache of its own, CACHE followed by the number, and the statuses are printed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from msgspec.structs import replace

from proxy.bundle.importer import ImportRules, import_bundle
from proxy.bundle.reader import Bundle, ByteSource
from proxy.composition.cache import open_cache
from proxy.composition.upstream_connections import mirrored
from proxy.storage.base import Records
from proxy.storage.disk_store import DiskStore
from proxy.storage.keys import Key, RecordKind
from proxy.storage.mirror_records import StoredPages
from tests.support.bundle_fixtures import settings


class KillingStore(DiskStore):
    def __init__(self, root: Path, write: Callable[[], None]) -> None:
        super().__init__(root)
        self._write = write

    async def put(self, key: str, content: Path | bytes) -> None:
        self._write()
        await super().put(key, content)


class KillingRecords:
    def __init__(self, records: Records, write: Callable[[], None]) -> None:
        self._records = records
        self._write = write

    @property
    def failures(self) -> int:
        return self._records.failures

    async def get(self, key: Key) -> bytes | None:
        return await self._records.get(key)

    async def keys(self, kind: RecordKind | None = None, *parts: str) -> list[Key]:
        return await self._records.keys(kind, *parts)

    async def put(self, key: Key, value: bytes) -> None:
        self._write()
        await self._records.put(key, value)

    async def put_if(
        self, key: Key, test: Callable[[bytes | None], bool], values: Mapping[Key, bytes | None]
    ) -> bool:
        self._write()
        return await self._records.put_if(key, test, values)

    async def forget(self, key: Key) -> None:
        self._write()
        await self._records.forget(key)


async def main(folder: Path, upstream: str, path: Path, left: int) -> None:
    def write() -> None:
        nonlocal left
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        left -= 1

    chosen = settings(folder, upstream)
    async with open_cache(chosen) as cache:
        records = KillingRecords(cache.records, write)
        store = KillingStore(cache.folder / "blob", write)
        killing = replace(cache, records=records, store=store, pages=StoredPages(records))
        with path.open("rb", buffering=0) as stream:
            rules = ImportRules(list(mirrored(chosen).values()))
            await import_bundle(killing, Bundle(ByteSource(stream)), rules, lambda size: None)


def main_forked(cache: str, upstream: str, bundle: Path, number: int) -> int:
    """Forks, as starting a Python for each number takes longer than the import. The status."""
    pid = os.fork()
    if pid == 0:
        asyncio.run(main(Path(f"{cache}{number}"), upstream, bundle, number))
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


if __name__ == "__main__":
    cache, upstream, bundle, *numbers = sys.argv[1:]
    if len(numbers) == 1:
        asyncio.run(main(Path(cache), upstream, Path(bundle), int(numbers[0])))
    else:
        print(*(main_forked(cache, upstream, Path(bundle), int(number)) for number in numbers))
