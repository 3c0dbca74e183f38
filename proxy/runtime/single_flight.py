"""One task for each key, shared by all callers that need its result at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

from proxy.runtime.background import end_tasks

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


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
