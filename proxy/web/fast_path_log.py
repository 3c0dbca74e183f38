"""The access log of answers given before their request was parsed: written and counted in batches.

A line made and written at once would cost more than such an answer.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from operator import itemgetter
from typing import Any

from proxy.events import Answered, Observer
from proxy.runtime import stamp
from proxy.web.access_log import log, log_extra
from proxy.web.fast_path import FastProtocol
from proxy.web.response_cache import CachedResponse, CounterKey, Line

FLUSH_INTERVAL = 0.2
"""Seconds between two batches."""
LINES_PER_SLICE = 100
"""Lines that are made in one go: more would show in the latency of others."""

Hit = tuple[CachedResponse, str, float, float]
"""The answer, the client's address, when (Unix time), and how long it took (seconds)."""

# Values that are found again in a formatted line.
_WHEN = 4e9
_CLIENT = secrets.token_hex(16)
_MS = 9876543210123.5


class CachedResponseLog:
    """Collects hits; ``running`` writes them down."""

    def __init__(
        self,
        handler: logging.StreamHandler[Any] | None,
        used: Callable[[str], None],
        events: Observer = lambda event: None,
    ) -> None:
        """``handler``: whose format and stream are used; None: no lines. ``used`` gets the keys
        of stored files that were sent, ``events`` the ``Answered``.
        """
        self._handler = handler
        self._used = used
        self._events = events
        self._hits: list[Hit] = []

    def hit(self, protocol: FastProtocol, finished: CachedResponse, started: float) -> None:
        seconds = time.perf_counter() - started
        self._hits.append((finished, protocol.client, time.time(), seconds))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await self._flush()

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_INTERVAL)
            await self._flush()

    async def _flush(self) -> None:
        for _ in range(0, len(self._hits), LINES_PER_SLICE):
            hits = self._hits[:LINES_PER_SLICE]
            del self._hits[
                :LINES_PER_SLICE
            ]  # what is left when it is cancelled is written at the end
            self._write(hits)
            await asyncio.sleep(0)

    def _write(self, hits: list[Hit]) -> None:
        self._count(hits)
        if self._handler and log.isEnabledFor(logging.INFO):
            lines = "".join(map(self._line, hits))
            with suppress(OSError, ValueError):  # a full disk, a closed pipe: as logging does
                self._handler.stream.write(lines)
                self._handler.flush()

    def _count(self, hits: list[Hit]) -> None:
        """What differs between hits costs little, and few differ in what they are counted as."""
        times: defaultdict[CounterKey, int] = defaultdict(int)
        sent: defaultdict[CounterKey, int] = defaultdict(int)
        for finished, number in Counter(map(itemgetter(0), hits)).items():
            times[finished.alike] += number
            sent[finished.alike] += number * len(finished.body)
            if finished.mark.key:
                self._used(finished.mark.key)
        for alike, number in times.items():
            self._events(Answered(*alike, sent[alike], number))

    def _line(self, hit: Hit) -> str:
        finished, client, when, seconds = hit
        if finished.line is None:
            assert self._handler
            finished.line = _template(self._handler, finished)
        head, between, middle, tail = finished.line
        return f"{head}{stamp(when)}{between}{client}{middle}{seconds * 1000:.2f}{tail}"


def _template(handler: logging.Handler, finished: CachedResponse) -> Line:
    """The line that the handler would write, in pieces around what differs between hits."""
    fields = {"client": _CLIENT, **finished.fields, "ms": _MS}
    record = log.makeRecord(
        log.name, logging.INFO, "", 0, "request", (), None, extra=log_extra(fields)
    )
    record.created = _WHEN
    head, _, rest = handler.format(record).partition(stamp(_WHEN))
    between, _, rest = rest.partition(_CLIENT)
    middle, _, tail = rest.rpartition(str(_MS))
    return head, between, middle, tail + "\n"
