"""When each blob was last used: noted in memory, and shared by all processes a moment later."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

from proxy.storage.base import Records
from proxy.storage.keys import Key, RecordKind


class LastUsed:
    """When each blob was last used, across restarts: noted in memory, written in batches.

    While entered, a task writes the notes.
    """

    def __init__(
        self, records: Records, *, every: float = 60.0, clock: Callable[[], float] = time.time
    ) -> None:
        """``every``: seconds between two writes."""
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
        """The blob is used now."""
        self._noted[key] = self._clock()

    async def get(self, key: str) -> float | None:
        """Unix time in seconds; None: unknown."""
        if (noted := self._noted.get(key)) is not None:
            return noted
        record = await self._records.get(Key(RecordKind.LAST_USED, key))
        return float(record) if record and record.isdigit() else None

    async def forget(self, key: str) -> None:
        self._noted.pop(key, None)
        await self._records.forget(Key(RecordKind.LAST_USED, key))

    async def flush(self) -> None:
        """Write all notes."""
        noted = dict(self._noted)
        await asyncio.gather(*(self._put(key, when) for key, when in noted.items()))
        for key, when in noted.items():
            if self._noted.get(key) == when:
                del self._noted[key]

    async def _put(self, key: str, when: float) -> None:
        await self._records.put(Key(RecordKind.LAST_USED, key), str(int(when)).encode())

    async def _write(self) -> None:
        while True:
            await asyncio.sleep(self._every)
            await self.flush()
