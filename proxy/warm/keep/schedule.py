"""Keep tables are run: all, or those whose time has come; by one process at a time."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from proxy.composition import Cache
from proxy.errors import ProxyError
from proxy.runtime import try_lock
from proxy.warm.keep.changes import Change, KeepStates, write_changes
from proxy.warm.keep.run import KeepResult, KeepRunner
from proxy.warm.keep.table import Keep

log = logging.getLogger(__name__)

SCHEDULE_POLL = 60.0
"""Seconds after which it is looked again what is due: another process may have done it."""
LOCK_TIMEOUT = 5.0
"""Seconds after which it is looked again whether another process is at it."""


class SyncRunning(ProxyError):
    """Another process runs keep tables on this cache, or it cannot be written."""

    def __str__(self) -> str:
        told = "another process runs the keep tables on this cache, or it cannot be written"
        return f"{told}; try again later"


async def sync(
    keeps: Sequence[Keep], runner: KeepRunner, every: Sequence[Keep], changes: Path | None
) -> list[KeepResult]:
    """Runs these of ``every`` table; the pins of tables that are no more are let go.

    ``changes`` is the file or folder for the list of changes. Raises ``SyncRunning``, and
    ``OSError`` where the list cannot be written: then the next run reports these changes again.
    """
    cache = runner.proxy.cache
    with try_lock(lock_path(cache)) as mine:
        if not mine:
            raise SyncRunning
        ran = [await runner.run(keep) for keep in keeps]
        if not runner.is_dry_run:
            await _tell(ran, changes, runner.clock())
            await _remember(ran, cache, [keep.owner for keep in every])
    return ran


def lock_path(cache: Cache) -> Path:
    return cache.folder / "keep"


def all_changes(ran: Sequence[KeepResult]) -> list[Change]:
    """Of all tables, each once."""
    return list(dict.fromkeys(change for one in ran for change in one.changes))


async def _tell(ran: Sequence[KeepResult], to: Path | None, now: float) -> None:
    if to is not None:
        await asyncio.to_thread(write_changes, to, all_changes(ran), now)


async def _remember(ran: Sequence[KeepResult], cache: Cache, owners: Sequence[str]) -> None:
    states = KeepStates(cache.records)
    for one in ran:
        await states.put(one.keep.owner, one.state)
    await states.retain(owners)
    await cache.pins.retain(owners)


class Schedule:
    """Runs every table at its interval, counted from the beginning of its last run, whose ever."""

    def __init__(
        self,
        keeps: Sequence[Keep],
        runner: KeepRunner,
        changes: Path | None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._keeps = keeps
        self._runner = runner
        self._changes = changes
        self._clock = clock
        self._ran: dict[str, float] = {}  # also where nothing can be written down

    async def run_forever(self) -> None:
        """Until it is cancelled. What goes wrong is a line in the log."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = min(SCHEDULE_POLL, await self.run_due())

    async def run_due(self) -> float:
        """Runs what is due; seconds until something is due again."""
        due = [keep for keep in self._keeps if await self._left(keep) <= 0]
        if due:
            began = self._clock()
            try:
                for ran in await sync(due, self._runner, self._keeps, self._changes):
                    _log(ran)
            except SyncRunning:
                return LOCK_TIMEOUT
            except (ProxyError, OSError) as error:
                log.error("keep tables could not be run: %s", error)
                return SCHEDULE_POLL
            self._ran |= {keep.owner: began for keep in due}
        return max(0.0, min([await self._left(keep) for keep in self._keeps]))

    async def _left(self, keep: Keep) -> float:
        """Seconds until it is due."""
        state = await KeepStates(self._runner.proxy.cache.records).get(keep.owner)
        since = self._clock() - max(state.ran, self._ran.get(keep.owner, 0.0))
        return keep.every - since if since >= 0 else 0.0  # the clock was set back


def _log(ran: KeepResult) -> None:
    for lack in ran.missing:
        log.error("keep %s: missing %s: %s", ran.keep, lack.line, lack.reason)
    for skipped in ran.needs.skipped:
        log.error("keep %s: not to be had from an index: %s", ran.keep, skipped)
    for change in ran.changes:
        log.info("keep %s: %s %s", ran.keep, change.change, change.filename)
    log.info("keep %s: %d files, fetched %d", ran.keep, len(ran.needs.files), len(ran.fetched))
