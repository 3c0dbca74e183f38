"""Eviction from an object store: one of the machines looks, once in a while.

An object in the store says when that was done last and how much there is, for all machines.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Set
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from proxy.errors import StoreUnavailable, reason
from proxy.runtime import end_tasks, try_lock
from proxy.scale.object_calls import ObjectCalls
from proxy.scale.object_store import ObjectStore
from proxy.storage import BlobEntry, Evictor, LastUsed, Leases, Lifetime

log = logging.getLogger(__name__)

NOTE = "v1/evicted"
"""The object that says what the last look found."""
TARGET_FILL = 0.9
"""Part of the limit down to which blobs are deleted."""
RECENT = 300.0
"""Seconds after its last use for which a blob stays, whatever the limit: other machines may be
sending it, and write down their uses once in a minute."""
BATCH = 1000
"""Blobs that are deleted with one request."""

Hold = Callable[[], AbstractAsyncContextManager[bool]]
"""Takes the lease of eviction until the context ends. The value is whether the lease was
free."""


class _Used(NamedTuple):
    when: float
    """Unix time in seconds of the last use, or of the put."""
    entry: BlobEntry


class Janitor:
    """Keeps an object store below its limit, and the local copies below theirs.

    Has what ``Evictor`` has. While entered, a task may look regularly.
    """

    def __init__(
        self,
        calls: ObjectCalls,
        store: ObjectStore,
        last_used: LastUsed,
        max_size: int | None,
        *,
        every: float,
        hold: Hold,
        lifetime: Lifetime | None = None,
        clock: Callable[[], float] = time.time,
        pinned: Callable[[], Awaitable[Set[str]]],
        deleted: Callable[[int, int], None] = lambda files, size: None,
        local: Evictor | None = None,
    ) -> None:
        """``every``: seconds between two looks, of all machines together. ``hold`` takes the lease
        of a look. ``local`` evicts local copies. The others as in ``Evictor``."""
        self.max_size = max_size
        self._calls = calls
        self._store = store
        self._last_used = last_used
        self._every = every
        self._hold = hold
        self._lifetime = lifetime or Lifetime()
        self._clock = clock
        self._pinned = pinned
        self._deleted = deleted
        self._local = local
        self._total = 0
        self._task: asyncio.Task[None] | None = None

    @property
    def total(self) -> int:
        """Bytes of the blobs, as of the last look, and of what this process has put since."""
        return self._total

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if self._task:
            await end_tasks(self._task)

    @asynccontextmanager
    async def room(self, size: int) -> AsyncIterator[None]:
        """Room is made later, by the one that looks."""
        yield
        self._total += size

    async def enforce(self, added: int = 0) -> None:
        """Count blobs that were put without ``room``."""
        self._total += added
        if self._local:
            await self._local.enforce()

    def start_sweeping(self) -> None:
        """Look regularly from now on, until this is left."""
        if self._local:
            self._local.start_sweeping()
        if self.max_size is not None or self._lifetime.is_limited:
            self._task = asyncio.create_task(self._look_regularly())

    async def _look_regularly(self) -> None:
        await asyncio.sleep(random.uniform(0, min(self._every, 60.0)))  # noqa: S311 (not all at once)
        while True:
            try:
                if await self._is_due():
                    await self.evict()
            except (StoreUnavailable, OSError) as error:
                log.warning("the object store was not looked through: %s", reason(error))
            await asyncio.sleep(self._every)

    async def _is_due(self) -> bool:
        """Whether no machine has looked lately; else takes over what it found."""
        found = await self._calls.get(NOTE)
        if found is None:
            return True
        data = b"".join([chunk async for chunk in self._calls.chunks(found, 1024)])
        try:
            self._total = int(json.loads(data)["bytes"])
        except (ValueError, KeyError, TypeError):
            return True
        return self._clock() - found.meta["last_modified"].timestamp() > 0.9 * self._every

    async def evict(self) -> bool:
        """As ``Eviction``: look now, unless another machine does."""
        async with self._hold() as mine:
            if mine:
                entries = [entry async for entry in self._store.entries()]
                total = sum(entry.size for entry in entries)
                oldest = await self._oldest_first(entries)
                pinned = await self._pinned()  # last: it raises if times could not be read, too
                free = [used for used in oldest if used.entry.key not in pinned]
                freed = await self._delete(self._gone(free, total))
                self._total = total - freed
                note = json.dumps({"bytes": self._total, "freed": freed}).encode()
                await self._calls.put(NOTE, note)
            return mine

    async def _oldest_first(self, entries: list[BlobEntry]) -> list[_Used]:
        found = []
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            noted = await asyncio.gather(*(self._last_used.get(each.key) for each in part))
            times = zip(part, noted, strict=True)
            found += [_Used(max(entry.stored, when or 0.0), entry) for entry, when in times]
        return sorted(found, key=lambda used: used.when)

    def _gone(self, oldest: list[_Used], total: int) -> list[BlobEntry]:
        now, limit = self._clock(), self.max_size
        over = limit is not None and total > limit
        left = total - int((limit or 0) * TARGET_FILL) if over else 0
        gone = []
        for used in oldest:
            too_much = left > 0 and now - used.when > RECENT
            if too_much or self._lifetime.is_over(used.entry, used.when, now):
                gone.append(used.entry)
                left -= used.entry.size
        return gone

    async def _delete(self, entries: list[BlobEntry]) -> int:
        """The bytes that were deleted."""
        freed = 0
        for start in range(0, len(entries), BATCH):
            part = entries[start : start + BATCH]
            await self._store.delete(*(entry.key for entry in part))
            await asyncio.gather(*(self._last_used.forget(entry.key) for entry in part))
            size = sum(entry.size for entry in part)
            log.info("deleted from the object store: %d files, %d bytes", len(part), size)
            self._deleted(len(part), size)
            freed += size
        return freed


def lock_of_machine(path: Path) -> Hold:
    """A lock between the processes of this machine, for replicas that share no leases."""

    @asynccontextmanager
    async def hold() -> AsyncIterator[bool]:
        with try_lock(path) as mine:
            yield mine

    return hold


def lease_of_all(leases: Leases) -> Hold:
    """A lease between all machines."""

    @asynccontextmanager
    async def hold() -> AsyncIterator[bool]:
        turn = await leases.begin("janitor")
        try:
            yield turn.held
        finally:
            if turn.held:
                await leases.end(turn)

    return hold
