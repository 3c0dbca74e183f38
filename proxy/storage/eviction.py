"""Eviction: deletes the least recently used, the old and the unused blobs of a store, except
pinned ones."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Set
from contextlib import asynccontextmanager
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from proxy.errors import reason
from proxy.runtime import end_tasks, try_lock
from proxy.storage.base import BlobEntry, BlobStore
from proxy.storage.last_used import LastUsed
from proxy.storage.shared_size import Known, SharedSize

log = logging.getLogger(__name__)

_TARGET_FILL = 0.9
"""Part of the limit down to which eviction deletes."""
_LOCK_PATIENCE = 1.0
"""Seconds that a blob waits for another process that makes room, at most: it may be suspended."""
_LOCK_PAUSE = 0.02
"""Seconds until a process that needs room looks again whether another one has made it."""
_SWEEP_PAUSE = 600.0
"""Seconds between two looks for old or unused blobs, at most."""
_PAUSES = (0.5, 5.0)
"""Seconds before eviction is tried again while busy blobs exceed the limit: first, and at most."""


class Lifetime(msgspec.Struct, frozen=True):
    """For how long blobs stay, in seconds; None: for any time."""

    max_age: float | None = None
    """Since they were stored."""
    max_unused: float | None = None
    """Since they were last used."""

    @property
    def is_limited(self) -> bool:
        return self.max_age is not None or self.max_unused is not None

    @property
    def interval(self) -> float:
        """Seconds between two looks for blobs that are past it."""
        limits = [each for each in (self.max_age, self.max_unused) if each is not None]
        return min(_SWEEP_PAUSE, max(1.0, min(limits, default=_SWEEP_PAUSE) / 10))

    def is_over(self, entry: BlobEntry, used: float, now: float) -> bool:
        """``used``: when the blob was last used, or stored."""
        if self.max_age is not None and now - entry.stored > self.max_age:
            return True
        return self.max_unused is not None and now - used > self.max_unused


async def _nothing() -> Set[str]:
    return frozenset()


class Evictor:
    """Deletes blobs before a store exceeds its limit, and those that are too old or unused.

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
        lifetime: Lifetime | None = None,
        clock: Callable[[], float] = time.time,
        busy: Callable[[str], bool] = lambda key: False,
        pinned: Callable[[], Awaitable[Set[str]]] = _nothing,
        deleted: Callable[[int, int], None] = lambda files, size: None,
    ) -> None:
        """``max_size`` in bytes, None: no limit. ``lock`` is a file outside of the store.

        Blobs for which ``busy`` is true stay, and those of the keys that ``pinned`` returns before
        blobs are deleted, even beyond the limit; all if it raises ``OSError``. ``deleted`` is
        called with the number and the bytes of the deleted blobs.
        """
        self.max_size = max_size
        self._store = store
        self._last_used = last_used
        self._lock = lock
        self._lifetime = lifetime or Lifetime()
        self._clock = clock
        self._busy = busy
        self._pinned = pinned
        self._deleted = deleted
        self._turn = asyncio.Lock()
        self._size = SharedSize(lock.with_name(f"{lock.name}.size"))
        self._scan_at = 0  # the total at which the store is scanned again
        self._over = asyncio.Event()  # only busy blobs keep the store over its limit
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def total(self) -> int:
        """Bytes of the blobs, as of the last scan and of what all processes have put since."""
        return self._size.read().stored

    async def __aenter__(self) -> Self:
        self._tasks.append(asyncio.create_task(self._retry()))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await end_tasks(*self._tasks)

    def start_sweeping(self) -> None:
        """Delete what is too old or unused from now on, until this is left."""
        if self._lifetime.is_limited:
            self._tasks.append(asyncio.create_task(self._sweep_regularly()))

    async def _sweep_regularly(self) -> None:
        while True:
            await self.sweep()
            await asyncio.sleep(self._lifetime.interval)

    async def evict(self) -> bool:
        """As ``Eviction``."""
        self._scan_at = 0
        await self.enforce()
        await self.sweep()
        return True

    async def sweep(self) -> None:
        """Delete what is too old or unused, but nothing that is busy or pinned."""
        async with self._turn:
            with try_lock(self._lock) as mine:
                if mine:
                    now, entries = self._clock(), await self._entries()
                    found = await self._oldest_first(entries)
                    gone = [each for each in found if self._lifetime.is_over(*each, now)]
                    await self._delete(gone, math.inf, "files that are too old or unused")

    async def _retry(self) -> None:
        while True:
            await self._over.wait()
            pause, longest = _PAUSES
            while self._over.is_set():
                await asyncio.sleep(pause)
                pause = min(2 * pause, longest)
                self._scan_at = 0
                await self.enforce()

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Make room for a blob of so many bytes, which is put while this is entered."""
        known = await self._reserve(size)
        stored = False
        try:
            await self._limit(known)
            yield
            stored = True
        finally:
            self._size.release(size, stored=stored)

    async def _reserve(self, size: int) -> Known:
        """Wait for a moment if all that is about to be put would exceed the limit together."""
        give_up = time.monotonic() + _LOCK_PATIENCE
        limit = math.inf if self.max_size is None else self.max_size
        while (known := self._size.reserve(size, limit)) is None:
            await asyncio.sleep(_LOCK_PAUSE)
            limit = limit if time.monotonic() < give_up else math.inf
        return known

    async def enforce(self, added: int = 0) -> None:
        """Called at the start, and with the bytes of blobs that were put without ``room``.

        Scans the store only if it may be too large. If only pinned and busy blobs are left over the
        limit, the next scan is after a twentieth of the limit was added.
        """
        await self._limit(self._size.add(added))

    async def _limit(self, known: Known) -> None:
        give_up = time.monotonic() + _LOCK_PATIENCE
        while self.max_size is not None and self._is_due(known) and time.monotonic() < give_up:
            async with self._turn:
                if not self._is_due(self._size.read()):  # another call has made room
                    return
                with try_lock(self._lock) as mine:
                    if mine:
                        await self._scan(self.max_size)
                        return
                    if not self._lock.is_file():  # the folder cannot be written
                        return
            await asyncio.sleep(_LOCK_PAUSE)  # another process makes room
            known = self._size.read()

    def _is_due(self, known: Known) -> bool:
        return known.promised >= self._scan_at

    async def _entries(self) -> list[BlobEntry]:
        return [entry async for entry in self._store.entries()]

    async def _scan(self, max_size: int) -> None:
        before = self._size.read()
        entries = await self._entries()
        total = sum(entry.size for entry in entries)
        coming = self._size.read().reserved
        if total + coming > max_size:
            self._over.clear()
            wanted = total + coming - int(max_size * _TARGET_FILL)
            oldest = await self._oldest_first(entries)
            total -= await self._delete(oldest, wanted, "the least recently used files")
        self._size.correct(before.stored, total)
        # Another process may have filled the store, so that its total is over the limit at once.
        self._scan_at = max_size + 1
        if total > max_size:
            self._scan_at = total + max_size // 20 + 1
        else:
            self._over.clear()

    async def _delete(
        self, candidates: Iterable[tuple[BlobEntry, float]], wanted: float, what: str
    ) -> int:
        """Delete until that many bytes are free; return the bytes that were deleted."""
        try:
            pinned = await self._pinned()
        except OSError as error:
            log.warning("nothing is deleted from the store: %s", reason(error))
            return 0
        freed = count = 0
        for entry, used in candidates:
            if freed >= wanted:
                break
            if entry.key in pinned:
                continue
            if self._busy(entry.key):
                if wanted < math.inf:
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
        if count:
            log.info("deleted %s: %d files, %d bytes", what, count, freed)
            self._deleted(count, freed)
        return freed

    async def _oldest_first(self, entries: list[BlobEntry]) -> list[tuple[BlobEntry, float]]:
        used = [(entry, await self._when_used(entry)) for entry in entries]
        return sorted(used, key=itemgetter(1))

    async def _when_used(self, entry: BlobEntry) -> float:
        return max(entry.stored, await self._last_used.get(entry.key) or 0.0)
