"""Eviction: deletes the least recently used blobs of a store, except pinned ones."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Set
from contextlib import asynccontextmanager, suppress
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from proxy.errors import reason
from proxy.runtime import compress, decompress, try_lock
from proxy.storage.base import BlobEntry, BlobStore, Records
from proxy.storage.keys import Key, RecordKind

log = logging.getLogger(__name__)

_TARGET_FILL = 0.9
"""Part of the limit down to which eviction deletes."""
_PAUSES = (1.0, 60.0)
"""Seconds before eviction is tried again while busy blobs exceed the limit: first, and at most."""


async def _nothing() -> Set[str]:
    return frozenset()


class LastUsed:
    """When each blob was last used, across restarts: noted in memory, written in batches.

    While entered, a task writes the notes.
    """

    def __init__(
        self, records: Records, *, every: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        """``every``: seconds between two writes."""
        self._records = records
        self._every = every
        self._clock = clock
        self._noted: dict[str, float] = {}
        self._writing: asyncio.Task[None]

    async def __aenter__(self) -> Self:
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._writing.cancel()
        with suppress(asyncio.CancelledError):
            await self._writing
        await self.flush()

    def note(self, key: str) -> None:
        """The blob is used now."""
        self._noted[key] = self._clock()

    async def get(self, key: str) -> float | None:
        """Unix time in seconds; None: unknown."""
        if (noted := self._noted.get(key)) is not None:
            return noted
        record = await self._records.get(Key(RecordKind.LAST_USED, key))
        return float(record) if record and record.isdigit() else None

    async def forget(self, key: str) -> None:
        self._noted.pop(key, None)
        await self._records.forget(Key(RecordKind.LAST_USED, key))

    async def flush(self) -> None:
        """Write all notes."""
        noted = dict(self._noted)
        await asyncio.gather(*(self._put(key, when) for key, when in noted.items()))
        for key, when in noted.items():
            if self._noted.get(key) == when:
                del self._noted[key]

    async def _put(self, key: str, when: float) -> None:
        await self._records.put(Key(RecordKind.LAST_USED, key), str(int(when)).encode())

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.flush()


class Evictor:
    """Deletes blobs before a store exceeds its limit.

    Several processes may share the store: one at a time deletes. While entered, a task deletes
    blobs later that were busy.
    """

    def __init__(
        self,
        store: BlobStore,
        last_used: LastUsed,
        max_size: int | None,
        *,
        lock: Path,
        busy: Callable[[str], bool] = lambda key: False,
        pinned: Callable[[], Awaitable[Set[str]]] = _nothing,
        deleted: Callable[[int, int], None] = lambda files, size: None,
    ) -> None:
        """``max_size`` in bytes, None: no limit. ``lock`` is a file outside of the store.

        Blobs for which ``busy`` is true stay, and those of the keys that ``pinned`` returns before
        blobs are deleted, even beyond the limit. ``deleted`` is called with the number and the
        bytes of the deleted blobs.
        """
        self._store = store
        self._last_used = last_used
        self.max_size = max_size
        self._lock = lock
        self._busy = busy
        self._pinned = pinned
        self._deleted = deleted
        self._turn = asyncio.Lock()
        self._total = 0
        self._coming = 0  # bytes of the blobs that are about to be put
        self._scan_at = 0  # the total at which the store is scanned again
        self._over = asyncio.Event()  # only busy blobs keep the store over its limit
        self._retrying: asyncio.Task[None]

    @property
    def total(self) -> int:
        """Bytes of the blobs, as of the last scan and of what this process has put since."""
        return self._total

    async def __aenter__(self) -> Self:
        self._retrying = asyncio.create_task(self._retry())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self._retrying.cancel()
        with suppress(asyncio.CancelledError):
            await self._retrying

    async def _retry(self) -> None:
        while True:
            await self._over.wait()
            pause, longest = _PAUSES
            while self._over.is_set():
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                await self.enforce()

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Make room for a blob of so many bytes, which is put while this is entered."""
        self._coming += size
        try:
            await self.enforce()
            yield
            self._total += size
        finally:
            self._coming -= size

    async def enforce(self, added: int = 0) -> None:
        """Called at the start, and with the bytes of blobs that were put without ``room``.

        Scans the store only if it may be too large, or if a twentieth of the limit was added
        since the last scan: other processes add blobs too.
        """
        self._total += added
        if self.max_size is None or not self._is_due():
            return
        async with self._turn:
            if self._is_due():  # else another call has made room for this one
                with try_lock(self._lock) as mine:
                    if mine:
                        await self._scan(self.max_size)

    def _is_due(self) -> bool:
        return self._total + self._coming >= self._scan_at

    async def _scan(self, max_size: int) -> None:
        before = self._total
        entries = [entry async for entry in self._store.entries()]
        total = sum(entry.size for entry in entries)
        if total + self._coming > max_size:
            total -= await self._free(total + self._coming - int(max_size * _TARGET_FILL), entries)
        self._total = total + self._total - before  # blobs were put during the scan
        step = max_size // 20 + 1
        self._scan_at = total + step if total > max_size else min(max_size + 1, total + step)
        if total <= max_size:
            self._over.clear()
        elif self._over.is_set():
            self._scan_at = 0

    async def _free(self, wanted: int, entries: list[BlobEntry]) -> int:
        """Delete until that many bytes are free; return the bytes that were deleted."""
        pinned = await self._pinned()
        freed = count = 0
        self._over.clear()
        for entry, used in await self._oldest_first(entries):
            if freed >= wanted:
                break
            if entry.key in pinned:
                continue
            if self._busy(entry.key):
                self._over.set()
                continue
            if await self._when_used(entry) > used:  # used since the list was made
                continue
            try:
                await self._store.delete(entry.key)
            except OSError as error:
                log.warning("files cannot be deleted from the store: %s", reason(error))
                break
            await self._last_used.forget(entry.key)
            freed, count = freed + entry.size, count + 1
        log.info("deleted the least recently used files: %d files, %d bytes", count, freed)
        self._deleted(count, freed)
        return freed

    async def _oldest_first(self, entries: list[BlobEntry]) -> list[tuple[BlobEntry, float]]:
        used = [(entry, await self._when_used(entry)) for entry in entries]
        return sorted(used, key=itemgetter(1))

    async def _when_used(self, entry: BlobEntry) -> float:
        return max(entry.stored, await self._last_used.get(entry.key) or 0.0)


class Pins:
    """Keys of blobs that eviction must not delete, by owner; shared by all processes."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def all(self) -> set[str]:
        """The keys of all owners."""
        found: set[str] = set()
        for key in await self._records.keys(RecordKind.PINS):
            found |= _decode(await self._records.get(key))
        return found

    async def get(self, owner: str) -> set[str]:
        return _decode(await self._records.get(Key(RecordKind.PINS, owner)))

    async def put(self, owner: str, keys: Collection[str]) -> None:
        """Replace the keys of the owner."""
        packed = compress(msgspec.json.encode(sorted(keys)))
        await self._records.put(Key(RecordKind.PINS, owner), packed)

    async def retain(self, owners: Collection[str]) -> None:
        """Remove the pins of all other owners."""
        for key in await self._records.keys(RecordKind.PINS):
            if key.owner not in owners:
                await self._records.forget(key)


def _decode(record: bytes | None) -> set[str]:
    """Empty for a damaged record, or one of another version of the program."""
    try:
        return msgspec.json.decode(decompress(record), type=set[str]) if record else set()
    except (msgspec.MsgspecError, OSError, EOFError):
        return set()
