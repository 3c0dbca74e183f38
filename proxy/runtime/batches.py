"""Work in a thread for many items at a time: group commit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Generic, TypeVar

GATHER = 0.01
"""Seconds in which a batch of a burst collects items, after the batch before it has ended."""

T = TypeVar("T")
R = TypeVar("R")


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
