"""Events of answers on the fast path: collected, and emitted in batches.

An event and its observers take more time than such an answer, so the answers of 0.2 seconds are
grouped first: one event for each client and cached response, with the time of each request.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

import msgspec

from proxy.events import AnswerServed, Observer, Timing
from proxy.web.fast_path import FastProtocol
from proxy.web.response_cache import CachedResponse

BATCH_INTERVAL = 0.2
"""Seconds between two batches."""
MAX_HITS_PER_TURN = 100
"""Hits that are dealt with in one turn of the event loop: more would delay other answers."""

Hit = tuple[AnswerServed, str, Timing]
"""The event of the cached response without client and time, the client's address, the time."""


class FastPathEvents:
    """Collects hits of the response cache; ``running`` emits their events."""

    def __init__(
        self, events: Observer, file_used: Callable[[str], None] = lambda key: None
    ) -> None:
        """``file_used`` gets the key of each stored file that was sent."""
        self._events = events
        self._file_used = file_used
        self._hits: list[Hit] = []

    def hit(self, protocol: FastProtocol, response: CachedResponse, started: float) -> None:
        """``started``: by ``time.perf_counter``."""
        timing = (time.time(), (time.perf_counter() - started) * 1000)
        self._hits.append((response.served, protocol.client, timing))
        if response.mark.stored_file:
            self._file_used(response.mark.stored_file)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._emit_all()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(BATCH_INTERVAL)
            await self._emit_all()

    async def _emit_all(self) -> None:
        for _ in range(0, len(self._hits), MAX_HITS_PER_TURN):
            hits = self._hits[:MAX_HITS_PER_TURN]
            del self._hits[:MAX_HITS_PER_TURN]  # those left by a cancelled task come at the end
            self._emit(hits)
            await asyncio.sleep(0)

    def _emit(self, hits: list[Hit]) -> None:
        groups: dict[tuple[int, str], tuple[AnswerServed, list[Timing]]] = {}
        for served, client, timing in hits:
            groups.setdefault((id(served), client), (served, []))[1].append(timing)
        for (_, client), (served, timings) in groups.items():
            self._events(msgspec.structs.replace(served, client=client, timings=tuple(timings)))
