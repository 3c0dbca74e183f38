"""The audit trail: takes answers on the event loop, and has them written in a thread.

No answer waits for the audit. Entries that cannot be written are counted and logged.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from itertools import islice
from typing import Protocol

import msgspec

from proxy.audit.entries import Entry, entries_of
from proxy.errors import reason
from proxy.events import AnswerServed, AuditLost, Event, Observer
from proxy.runtime import end_tasks

log = logging.getLogger(__name__)

DELAY = 0.5
"""Seconds between the arrival of an answer and its writing: what a SIGKILL can lose."""
MAX_WAITING = 20_000
"""Events that wait while the disk is slow; further ones are lost."""
SLICE = 1024
"""Events that are written at once: the thread lets the event loop run between two slices."""
LOG_EVERY = 60.0
"""Seconds between two lines in the log about the same fault."""


class Journal(Protocol):
    """Where entries are written, in a thread. The methods may raise OSError and sqlite3.Error."""

    name: str

    def write(self, entries: Sequence[Entry], now: float) -> None:
        """All or none. ``now``: Unix time in seconds."""

    def close(self) -> None: ...


class AuditTrail:
    """An observer of ``AnswerServed``."""

    def __init__(
        self,
        journals: Sequence[Journal],
        events: Observer,
        *,
        pages: bool = False,
        clock: Callable[[], float] = time.time,
        max_waiting: int = MAX_WAITING,
    ) -> None:
        """``events`` gets ``AuditLost``; ``pages`` as in ``entries_of``."""
        self._journals = journals
        self._events = events
        self._pages = pages
        self._clock = clock
        self._max_waiting = max_waiting
        self._waiting: list[AnswerServed] = []
        self._arrived = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, "audit")
        self._logged_until: dict[str, float] = {}

    def observe(self, event: Event) -> None:
        """Takes less than a microsecond, as most events are of many answers."""
        assert isinstance(event, AnswerServed)
        if len(self._waiting) >= self._max_waiting:
            self._lose("memory", len(event.timings), "the disk takes them too slowly")
            return
        # A page may be large, and is not needed.
        self._waiting.append(msgspec.structs.replace(event, page=None) if event.page else event)
        self._arrived.set()

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Write what arrives; at the end, what is left."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            await end_tasks(task)
            await self.flush()
            for journal in self._journals:
                await asyncio.get_running_loop().run_in_executor(self._thread, journal.close)
            self._thread.shutdown()

    async def _run(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(DELAY)
            await self.flush()

    async def flush(self) -> None:
        """Returns when the thread is done, cancelled or not."""
        self._arrived.clear()
        waiting, self._waiting = self._waiting, []
        if waiting:
            loop = asyncio.get_running_loop()
            working = loop.run_in_executor(self._thread, self._write_all, waiting)
            try:
                faults = await asyncio.shield(working)
            except asyncio.CancelledError:
                faults = await working
                self._report(faults)
                raise
            self._report(faults)

    def _write_all(self, waiting: Sequence[AnswerServed]) -> list[tuple[str, int, str]]:
        """Runs in the thread. Returns, for each fault, the journal, lost answers and reason."""
        faults, events = [], iter(waiting)
        while part := list(islice(events, SLICE)):
            entries = [each for event in part for each in entries_of(event, pages=self._pages)]
            for journal in self._journals if entries else ():
                if why := self._fault_of(journal, entries):
                    lost = sum(len(entry.event.timings) for entry in entries)
                    faults.append((journal.name, lost, why))
        return faults

    def _fault_of(self, journal: Journal, entries: Sequence[Entry]) -> str:
        """Why the entries are not written; empty: they are."""
        try:
            journal.write(entries, self._clock())
        except (OSError, sqlite3.Error) as error:
            return reason(error)
        except Exception as error:  # one entry with a fault must not end the audit of all others
            log.exception("the %s of the audit failed", journal.name)
            return f"an unexpected error, which the log has: {reason(error)}"
        return ""

    def _report(self, faults: Sequence[tuple[str, int, str]]) -> None:
        for fault in faults:
            self._lose(*fault)

    def _lose(self, journal: str, answers: int, why: str) -> None:
        self._events(AuditLost(journal, answers))
        now = time.monotonic()
        if now >= self._logged_until.get(journal, 0.0):
            self._logged_until[journal] = now + LOG_EVERY
            log.error(
                "the audit lacks %d answers, which could not be written to its %s: %s; "
                "waystation_audit_lost_total counts them",
                *(answers, journal, why),
            )
