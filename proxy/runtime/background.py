"""Work in the background, deduplicated by key, its end, and work on many items with a limit."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Hashable, Iterable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)

log = logging.getLogger(__name__)

RECHECK_DELAY = 0.5
"""Seconds in which most requests that one client sends at once have been answered."""
MAX_RUNNING = 4
"""Keys that a background queue works on at the same time, if not said otherwise."""


class BackgroundQueue(Generic[K]):
    """Works on each key a moment later, once however often the key was added by then."""

    def __init__(
        self,
        work: Callable[[K], Awaitable[object]],
        *,
        delay: float = RECHECK_DELAY,
        concurrency: int = MAX_RUNNING,
    ) -> None:
        """``work`` should raise nothing; ``delay``: seconds until work on a key begins;
        ``concurrency``: keys that are worked on at the same time."""
        self._work = work
        self._delay = delay
        self._concurrency = concurrency
        self._waiting: dict[K, None] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, key: K) -> None:
        self._waiting[key] = None
        if self._task is None:
            self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Keys on which work has not begun are dropped."""
        if self._task:
            self._task.cancel()
            await asyncio.wait({self._task})

    async def _run(self) -> None:
        try:
            await asyncio.sleep(self._delay)
            while self._waiting:
                keys = list(self._waiting)[: self._concurrency]
                for key in keys:
                    del self._waiting[key]
                for done in await asyncio.gather(*map(self._work, keys), return_exceptions=True):
                    if isinstance(done, Exception):  # an error in the program: the other keys go on
                        log.error("work in the background failed", exc_info=done)
        finally:
            self._task = None


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, and wait until they have ended. Raises none of their errors."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


T = TypeVar("T")


async def for_each(
    items: Iterable[T], work: Callable[[T], Awaitable[object]], concurrency: int
) -> None:
    """Work on the items in their order, ``concurrency`` at a time.

    Raises the first error of ``work``, after cancelling the rest.
    """
    slots = asyncio.Semaphore(concurrency)

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
