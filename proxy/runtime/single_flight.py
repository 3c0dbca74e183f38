"""One piece of work per key, however many ask for it at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class SingleFlight(Generic[K, T]):
    """Runs work in tasks of its own, so that no caller's leaving cancels it for the others.

    Work that has ended is not under way any more, although the loop may tell so a moment later:
    who waits until nothing is under way would wait for what has ended, without end.
    """

    def __init__(self) -> None:
        self._flights: dict[K, asyncio.Task[T]] = {}

    def under_way(self, key: K) -> bool:
        return self._running(key) is not None

    def start(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> asyncio.Task[T]:
        """The task that does ``work`` for ``key``: a running one, or a new one."""
        if (task := self._running(key)) is None:
            task = self._flights[key] = asyncio.create_task(work())
            task.add_done_callback(lambda done: self._landed(key, done))
        return task

    async def do(self, key: K, work: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """The result of the work, shared; raises what the work raises."""
        return await asyncio.shield(self.start(key, work))

    async def close(self) -> None:
        """Cancel what is still running and wait until it has ended."""
        tasks = list(self._flights.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _running(self, key: K) -> asyncio.Task[T] | None:
        task = self._flights.get(key)
        return None if task is None or task.done() else task

    def _landed(self, key: K, task: asyncio.Task[T]) -> None:
        if self._flights.get(key) is task:
            del self._flights[key]
        if not task.cancelled():
            task.exception()  # seen: an abandoned flight is not reported as never retrieved
