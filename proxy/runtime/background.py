"""Work in tasks and threads: in the background, once for all callers, or for many items at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")
R = TypeVar("R")

log = logging.getLogger(__name__)

RECHECK_DELAY = 0.5
"""Seconds in which most requests that one client sends at once have been answered."""
MAX_RUNNING = 4
"""Keys that a background queue works on at the same time, if not said otherwise."""
GATHER = 0.01
"""Seconds in which a batch of a burst collects items, after the batch before it has ended."""


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
        """Keys whose work has not started are dropped."""
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
                    if isinstance(done, Exception):  # an error in the program: other keys continue
                        log.error("work in the background failed", exc_info=done)
        finally:
            self._task = None


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel the tasks, and wait until they have ended. Raises none of their errors."""
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


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


class SingleFlight(Generic[K, T]):
    """Runs work in separate tasks, so that a cancelled caller does not cancel it for others.

    A finished task counts as not running even before its done-callback has been called;
    otherwise a caller that polls ``is_running`` would never end.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[T]] = {}

    def is_running(self, key: K) -> bool:
        return self._running(key) is not None

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The running task for ``key``, or a new one that does ``work``."""
        if (task := self._running(key)) is None:
            task = self._flights[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._forget(key, done))
        return task

    async def do(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Return the result of the task for ``key``, or raise its error."""
        return await asyncio.shield(self.start(key, work))

    async def drained(self) -> None:
        """Wait until the running tasks have ended."""
        await asyncio.gather(*self._flights.values(), return_exceptions=True)

    async def close(self) -> None:
        """Cancel the running tasks, and wait until they have ended."""
        await end_tasks(*self._flights.values())

    def _running(self, key: K) -> asyncio.Task[T] | None:
        task = self._flights.get(key)
        return None if task is None or task.done() else task

    def _forget(self, key: K, task: asyncio.Task[T]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # retrieved, so that asyncio does not log it as never retrieved


class Batches(Generic[T, R]):
    """Works on all items that wait, one batch at a time, while the next batch collects.

    An item that comes alone is worked on at once. If items come while a batch is worked on, they
    are a burst: they wait for more items for a moment, and a sync or a transaction is for all.
    """

    def __init__(
        self,
        work: Callable[[Sequence[T]], Sequence[R | Exception]],
        thread: Executor | None = None,
        *,
        gather: float = GATHER,
    ) -> None:
        """``work`` runs in ``thread``, else in any, and returns a result or error for each item.

        An error that it raises is the error of each item. ``gather``: seconds.
        """
        self._work = work
        self._thread = thread
        self._gather = gather
        self._waiting: list[tuple[T, asyncio.Future[R]]] = []
        self._is_working = False

    async def add(self, item: T) -> R:
        """The result for the item. Raises its error.

        Returns only after the work has ended, cancelled or not, as ``in_thread``.
        """
        loop = asyncio.get_running_loop()
        done: asyncio.Future[R] = loop.create_future()
        self._waiting.append((item, done))
        if not self._is_working:
            self._is_working = True
            loop.call_soon(self._begin)  # what is added in this turn of the loop joins
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            await asyncio.wait({done})
            raise

    def _begin(self) -> None:
        batch, self._waiting = self._waiting, []
        loop = asyncio.get_running_loop()
        working = loop.run_in_executor(self._thread, self._work, [item for item, _ in batch])
        working.add_done_callback(partial(self._ended, batch))

    def _ended(
        self,
        batch: list[tuple[T, asyncio.Future[R]]],
        working: asyncio.Future[Sequence[R | Exception]],
    ) -> None:
        error = working.exception()
        results = [error] * len(batch) if error else working.result()
        for (_, done), result in zip(batch, results, strict=True):
            if isinstance(result, BaseException):
                done.set_exception(result)
            else:
                done.set_result(result)
        self._is_working = bool(self._waiting)
        if self._waiting:
            asyncio.get_running_loop().call_later(self._gather, self._begin)
