"""Prefetching for every index that is served, within limits that all of them share."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager

from proxy.events import AnswerServed, Event, Events
from proxy.indexes import Index
from proxy.prefetch.fetcher import Fetcher, PrefetchStats, PrefetchTally, WorkerMarks
from proxy.prefetch.prefetcher import Prefetcher, PrefetchLimits
from proxy.prefetch.scheduler import Refresher, Scheduler
from proxy.prefetch.sessions import InstallHistory
from proxy.runtime import SharedCounters, end_tasks
from proxy.storage import Records

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 5.0
"""Seconds between two sweeps, and between two refreshes."""
STATS_INTERVAL = 600.0
"""Seconds between two lines in the log, at least."""


@asynccontextmanager
async def open_prefetchers(
    indexes: Iterable[Index],
    records: Records,
    events: Events,
    in_flight: Callable[[], int],
    *,
    connections: int,
    limits: PrefetchLimits,
    marks: WorkerMarks | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Prefetching]:
    """Prefetch for each index that is served. At the end, open sessions are recorded.

    ``in_flight``: the number of requests that upstreams are answering now, at most
    ``connections``. ``marks``: what clients request from other
    processes.
    """
    marks = marks or WorkerMarks(SharedCounters.single_process())
    tally, scheduler = PrefetchTally(events), Scheduler(in_flight, connections)
    found = {
        index.name: Prefetcher(
            Fetcher(index, tally, marks, clock=clock),
            InstallHistory(records, index.name),
            scheduler,
            limits=limits,
            refresher=Refresher(index, clock=clock),
            clock=clock,
        )
        for index in indexes
    }
    prefetching = Prefetching(found, tally, scheduler, marks, clock)
    events.subscribe(prefetching.observe, AnswerServed)
    tasks = [
        asyncio.create_task(_repeat(prefetching.sweep)),
        asyncio.create_task(_repeat(prefetching.refresh)),
    ]
    try:
        yield prefetching
    finally:
        events.unsubscribe(prefetching.observe)
        await end_tasks(*tasks)
        await prefetching.close()


class Prefetching:
    """The prefetchers of all indexes: they share the limits, and the tally of what was used."""

    def __init__(
        self,
        prefetchers: Mapping[str, Prefetcher],
        tally: PrefetchTally,
        scheduler: Scheduler,
        marks: WorkerMarks,
        clock: Callable[[], float],
    ) -> None:
        """``prefetchers``: by the name of their index."""
        self._prefetchers = prefetchers
        self._tally = tally
        self._scheduler = scheduler
        self._marks = marks
        self._clock = clock
        self._logged, self._logged_at = tally.stats, clock()

    @property
    def stats(self) -> PrefetchStats:
        return self._tally.stats

    @property
    def idle(self) -> bool:
        """Whether no guess runs or waits."""
        return self._scheduler.idle

    def observe(self, event: Event) -> None:
        if isinstance(event, AnswerServed) and (found := self._prefetchers.get(event.index)):
            found.observe(event)

    async def sweep(self) -> None:
        """Record sessions that have ended, and count unused prefetched pages and files as
        wasted."""
        now = self._clock()
        self._tally.sweep(now, self._marks.requested)
        await self._remember(now)
        if self.stats != self._logged and now - self._logged_at >= STATS_INTERVAL:
            self._logged, self._logged_at = self.stats, now
            log.info("prefetching: %s", self.stats)

    async def refresh(self) -> None:
        """Revalidate the pages in use that expire soon."""
        for each in self._prefetchers.values():
            await each.refresh()

    async def close(self) -> None:
        await self._scheduler.close()
        await self._remember(float("inf"))
        if self.stats.fetched:
            log.info("prefetching: %s", self.stats)

    async def _remember(self, now: float) -> None:
        for each in self._prefetchers.values():
            await each.remember(now)


async def _repeat(work: Callable[[], Awaitable[None]]) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        await work()
