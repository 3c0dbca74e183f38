"""Keeps a store of files under its size limit, by deleting what was used longest ago.

Which stored files stay however full the store is: a set of keys for each who wants them.
"""

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

_DOWN_TO = 0.9
_PAUSES = (1.0, 60.0)
"""Seconds before the store is looked through again for files that were busy: first, and most."""


async def _nothing() -> Set[str]:
    return frozenset()


class LastUsed:
    """When each file was last asked for, across restarts; noted in memory, written in batches.

    While entered, a task of its own writes them down.
    """

    def __init__(
        self, records: Records, *, every: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        """``every``: seconds between two writings."""
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
        """It is being used."""
        self._noted[key] = self._clock()

    async def get(self, key: str) -> float | None:
        """Unix time in seconds; None if nobody knows."""
        if (noted := self._noted.get(key)) is not None:
            return noted
        record = await self._records.get(Key(RecordKind.LAST_USED, key))
        return float(record) if record and record.isdigit() else None

    async def forget(self, key: str) -> None:
        self._noted.pop(key, None)
        await self._records.forget(Key(RecordKind.LAST_USED, key))

    async def flush(self) -> None:
        """Write down what was noted."""
        noted = dict(self._noted)
        for key, when in noted.items():
            await self._records.put(Key(RecordKind.LAST_USED, key), str(int(when)).encode())
            if self._noted.get(key) == when:
                del self._noted[key]

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.flush()


class Evictor:
    """Deletes from a store, and from nothing else, before it holds more than it may.

    Several processes may share the store: one at a time deletes. While entered, a task of its
    own deletes files later that were busy.
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

        Keys that are ``busy`` stay, and those that ``pinned`` answers with when it is asked
        before anything is deleted, however much that leaves. ``deleted`` is told how many files
        went, and their bytes.
        """
        self._store = store
        self._last_used = last_used
        self._max_size = max_size
        self._lock = lock
        self._busy = busy
        self._pinned = pinned
        self._deleted = deleted
        self._turn = asyncio.Lock()
        self._total = 0
        self._coming = 0  # bytes of the files for which there is to be room
        self._look_at = 0  # the total at which the store is looked through again
        self._over = asyncio.Event()  # busy files are all that keeps it over the limit
        self._retrying: asyncio.Task[None]

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
        """Make room for a file of so many bytes, which is put into the store meanwhile."""
        self._coming += size
        try:
            await self.enforce()
            yield
            self._total += size
        finally:
            self._coming -= size

    async def enforce(self, added: int = 0) -> None:
        """To be called at start, and with the bytes of files that were put without ``room``.

        Looks through the store only if it may be too large, or a twentieth of the limit was
        added: other processes add to it too.
        """
        self._total += added
        if self._max_size is None or not self._is_due():
            return
        async with self._turn:
            if self._is_due():  # else another file has made room for this one
                with try_lock(self._lock) as mine:
                    if mine:
                        await self._look_through(self._max_size)

    def _is_due(self) -> bool:
        return self._total + self._coming >= self._look_at

    async def _look_through(self, max_size: int) -> None:
        before = self._total
        entries = [entry async for entry in self._store.entries()]
        total = sum(entry.size for entry in entries)
        if total + self._coming > max_size:
            total -= await self._free(total + self._coming - int(max_size * _DOWN_TO), entries)
        self._total = total + self._total - before  # others were put meanwhile
        step = max_size // 20 + 1
        self._look_at = total + step if total > max_size else min(max_size + 1, total + step)
        if total <= max_size:
            self._over.clear()
        elif self._over.is_set():
            self._look_at = 0

    async def _free(self, wanted: int, entries: list[BlobEntry]) -> int:
        """Delete until that many bytes are gone; how many were."""
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
            if await self._when_used(entry) > used:  # it was asked for a moment ago
                continue
            try:
                await self._store.delete(entry.key)
            except OSError as error:
                log.warning("nothing can be deleted from the store: %s", reason(error))
                break
            await self._last_used.forget(entry.key)
            freed, count = freed + entry.size, count + 1
        log.info("deleted %d files of %d bytes that were used longest ago", count, freed)
        self._deleted(count, freed)
        return freed

    async def _oldest_first(self, entries: list[BlobEntry]) -> list[tuple[BlobEntry, float]]:
        used = [(entry, await self._when_used(entry)) for entry in entries]
        return sorted(used, key=itemgetter(1))

    async def _when_used(self, entry: BlobEntry) -> float:
        return max(entry.stored, await self._last_used.get(entry.key) or 0.0)


class Pins:
    """Shared by all processes on the cache, so that none deletes what another one pinned."""

    def __init__(self, records: Records) -> None:
        self._records = records

    async def all(self) -> set[str]:
        """The keys that somebody wants kept."""
        found: set[str] = set()
        for key in await self._records.keys(RecordKind.PINS):
            found |= _decode(await self._records.get(key))
        return found

    async def get(self, owner: str) -> set[str]:
        return _decode(await self._records.get(Key(RecordKind.PINS, owner)))

    async def put(self, owner: str, keys: Collection[str]) -> None:
        """From now on these and no others are the owner's."""
        packed = compress(msgspec.json.encode(sorted(keys)))
        await self._records.put(Key(RecordKind.PINS, owner), packed)

    async def retain(self, owners: Collection[str]) -> None:
        """Let go what is of nobody of these."""
        for key in await self._records.keys(RecordKind.PINS):
            if key.owner not in owners:
                await self._records.forget(key)


def _decode(record: bytes | None) -> set[str]:
    """Nothing for a record that is of another version, or damaged."""
    try:
        return msgspec.json.decode(decompress(record), type=set[str]) if record else set()
    except (msgspec.MsgspecError, OSError, EOFError):
        return set()
