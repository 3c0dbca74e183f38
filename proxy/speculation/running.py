"""Speculation put together and kept going: what has to be done from time to time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from proxy.board import SharedCounters
from proxy.events import Events
from proxy.indexes.base import Index
from proxy.speculation.fetching import Fetcher
from proxy.speculation.refresher import Refresher
from proxy.speculation.runner import Scheduler
from proxy.speculation.siblings import WorkerMarks
from proxy.speculation.speculation import Prefetcher
from proxy.speculation.tally import PrefetchStats
from proxy.speculation.together import InstallHistory
from proxy.storage.base import Records

log = logging.getLogger(__name__)

SWEEP_INTERVAL = 5.0
"""Seconds between two looks at what is over or expires."""
REPORT_INTERVAL = 600.0
"""Seconds between two lines in the log, at least."""


@asynccontextmanager
async def open_prefetcher(
    index: Index,
    records: Records,
    events: Events,
    in_flight: Callable[[], int],
    *,
    connections: int,
    files: bool,
    siblings: WorkerMarks | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Prefetcher]:
    """For the index that is served. At the end what was asked together is put down.

    ``in_flight``: requests that upstream is answering now, of at most so many ``connections``.
    ``files``: fetch wheels ahead too. ``siblings``: other processes that clients ask as well.
    """
    refresher = Refresher(index, clock=clock)
    speculation = Prefetcher(
        Fetcher(index, events, siblings or WorkerMarks(SharedCounters.alone()), clock=clock),
        InstallHistory(records, index.name),
        Scheduler(in_flight, connections),
        files=files,
        in_use=refresher.asked,
        clock=clock,
    )
    events.subscribe(speculation.observe)
    tasks = [
        asyncio.create_task(_regularly(speculation, clock)),
        asyncio.create_task(_refresh(refresher)),
    ]
    try:
        yield speculation
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await speculation.close()
        if speculation.counts.fetched:
            log.info("speculation: %s", speculation.counts)


async def _regularly(speculation: Prefetcher, clock: Callable[[], float]) -> None:
    told, when = PrefetchStats(), clock()
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        await speculation.sweep()
        if speculation.counts != told and clock() - when >= REPORT_INTERVAL:
            told, when = speculation.counts, clock()
            log.info("speculation: %s", told)


async def _refresh(refresher: Refresher) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        await refresher.refresh()
