"""Values of now that a process writes into its row of the counters: connections, memory, lag.

Measured four times a second, and at each request for ``/metrics``.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from aiohttp import web

from proxy.web.counters import Counters
from proxy.web.metric_families import (
    BREAKER_OPEN,
    CONNECTIONS,
    CPU_SECONDS,
    LEASE_TURNS,
    LOOP_LAG,
    MEMORY,
    OPEN_FILES,
    REDIS_DOWN,
    REQUESTS_IN_FLIGHT,
    UPSTREAM_IN_FLIGHT,
)

log = logging.getLogger(__name__)

LAG_INTERVAL = 0.25
"""Seconds between two measurements."""
MUCH_LAG = 0.5
"""Seconds of lag that are worth a line in the log, ..."""
LOG_EVERY = 60.0
"""... at most once in so many seconds."""
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Sources(NamedTuple):
    """The sources of gauges."""

    connections: Callable[[], int] = lambda: 0
    running: Callable[[], int] = lambda: 0
    """Requests that handlers are answering."""
    upstream: Callable[[str], int] = lambda what: 0
    """Requests to upstreams that are running, for a ``page`` or a ``file``."""
    breakers: Callable[[], Iterable[tuple[str, bool]]] = lambda: ()
    """For each upstream: the name of its index, and whether its circuit breaker is open."""
    turns: Mapping[str, int] = {}
    """How often shared work was done here, or waited for: it grows."""
    redis_down: Callable[[], bool] = lambda: False


class Sampler:
    def __init__(self, counters: Counters, sources: Sources) -> None:
        self._counters = counters
        self._sources = sources
        self._cpu = 0
        self._turns: dict[str, int] = {}
        self._lag_logged = 0.0

    def sample(self) -> None:
        """Takes some 50 microseconds."""
        counters, sources = self._counters, self._sources
        counters.set(sources.connections(), CONNECTIONS)
        counters.set(sources.running(), REQUESTS_IN_FLIGHT)
        for what in UPSTREAM_IN_FLIGHT.labels["what"]:
            counters.set(sources.upstream(what), UPSTREAM_IN_FLIGHT, what)
        states: dict[str, int] = {}
        for index, is_open in sources.breakers():
            place = counters.place(index)
            states[place] = max(states.get(place, 0), is_open)
        for place, state in states.items():
            counters.set(state, BREAKER_OPEN, place)
        for result, count in sources.turns.items():
            counters.add(count - self._turns.get(result, 0), LEASE_TURNS, result)
        self._turns = dict(sources.turns)
        counters.set(sources.redis_down(), REDIS_DOWN)
        self._sample_process()

    def _sample_process(self) -> None:
        cpu = int(time.process_time() * 1e6)
        self._counters.add(cpu - self._cpu, CPU_SECONDS)  # a successor counts on from here
        self._cpu = cpu
        with suppress(OSError, IndexError, ValueError):  # systems without /proc
            memory = int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE_BYTES
            self._counters.set(memory, MEMORY)
            self._counters.set(len(os.listdir("/proc/self/fd")) - 1, OPEN_FILES)  # noqa: PTH208

    async def running(self, app: web.Application) -> AsyncIterator[None]:
        """A cleanup context of aiohttp: measures while the application runs."""
        task = asyncio.create_task(self._run())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            due = loop.time() + LAG_INTERVAL
            await asyncio.sleep(LAG_INTERVAL)
            lag = max(0.0, loop.time() - due)
            self._counters.add_times([lag], LOOP_LAG)
            if lag > MUCH_LAG and due > self._lag_logged + LOG_EVERY:
                self._lag_logged = due
                log.warning("the event loop was %.1f s late: answers waited as long", lag)
            self.sample()
