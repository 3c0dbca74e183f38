"""Work that nobody waits for: done a moment later, and a little at a time.

The same work for many things, some at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)

RECHECK_DELAY = 0.5
"""Seconds in which most of what one client asks for at once has been answered."""
MAX_RUNNING = 4


class BackgroundQueue(Generic[K]):
    """Does something for each key, once however often it was added meanwhile."""

    def __init__(
        self, work: Callable[[K], Awaitable[object]], *, later: float = RECHECK_DELAY
    ) -> None:
        """``work`` raises nothing; ``later``: seconds until it begins."""
        self._work = work
        self._later = later
        self._waiting: dict[K, None] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, key: K) -> None:
        self._waiting[key] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """What has not begun is dropped."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            await asyncio.sleep(self._later)
            while self._waiting:
                keys = list(self._waiting)[:MAX_RUNNING]
                for key in keys:
                    del self._waiting[key]
                for done in await asyncio.gather(*map(self._work, keys), return_exceptions=True):
                    if isinstance(done, Exception):  # a mistake of ours; the others go on
                        log.error("what was to be done behind failed", exc_info=done)
        finally:
            self._task = None


T = TypeVar("T")


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[object]], at_once: int
) -> None:
    """Begins in the order of the items. The first error ends all, and is raised."""
    slots = asyncio.Semaphore(at_once)

    async def one(item: T) -> None:
        try:
            await work(item)
        finally:
            slots.release()

    try:
        async with asyncio.TaskGroup() as group:
            for item in items:
                await slots.acquire()
                group.create_task(one(item))
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from None
