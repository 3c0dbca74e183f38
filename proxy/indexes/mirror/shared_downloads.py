"""Fetches a file once for all replicas that share a store of files."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from proxy.model import Blob
from proxy.storage import Leases, Turn

PATIENCE = 2.0
"""Seconds that a replica waits for another one before it fetches a file itself: no client waits
in silence for all of a large file."""

Find = Callable[[], Awaitable[Blob | None]]
"""Returns the file from the store."""


class SharedDownloads:
    """One replica fetches a file; the others read it from the store if it comes there in time."""

    def __init__(self, leases: Leases) -> None:
        self._leases = leases
        self._ending: set[asyncio.Task[None]] = set()

    @property
    def shared(self) -> bool:
        """Whether other replicas use the store."""
        return self._leases.shared

    async def take_turn(self, key: str, find: Find) -> tuple[Turn, Blob | None]:
        """A turn to fetch the file, or the file, which another replica has stored meanwhile.

        Without the file, the turn has to be given to ``end_after``.
        """
        turn = await self._leases.begin(f"file/{key}")
        try:
            if not turn.held:
                await self._leases.wait(turn.name, PATIENCE)
            found = await find()  # even with the lease: another replica may have been first
        except BaseException:
            await self._leases.end(turn)
            raise
        if found is not None:
            await self._leases.end(turn)
        return turn, found

    def end_after(self, turn: Turn, stored: Coroutine[Any, Any, object]) -> None:
        """Give the lease back when ``stored`` has returned; in the background."""

        async def end() -> None:
            try:
                await stored
            finally:
                await self._leases.end(turn)

        task = asyncio.create_task(end())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    async def close(self) -> None:
        """Give the leases back."""
        await asyncio.gather(*self._ending, return_exceptions=True)
