"""Runs keep tables: all of them once, or each at its interval; in one process at a time."""

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
"""Seconds between two checks of what is due: another process may have run a table."""
MATURITY_INTERVAL = 300.0
"""Seconds between two runs at least, where a run is early because a policy may let files pass."""
LOCK_POLL = 5.0
"""Seconds until the next attempt while another process runs keep tables."""


class SyncRunning(ProxyError):
    """Another process runs keep tables on this cache, or the cache cannot be written."""

    def __str__(self) -> str:
        return (
            "another process runs the keep tables of this cache, or the cache cannot be written;"
            " try again later"
        )


async def sync(
    keeps: Sequence[Keep], runner: KeepRunner, every: Sequence[Keep], changes: Path | None
) -> list[KeepResult]:
    """Run ``keeps``; ``every`` table of the settings keeps its pins, all other pins are deleted.

    ``changes`` is the file or folder for the list of changes. Raises ``SyncRunning``, and
    ``OSError`` if the list cannot be written: then the next run reports these changes again.
    """
    cache = runner.proxy.cache
    with try_lock(lock_path(cache)) as acquired:
        if not acquired:
            raise SyncRunning
        results = [await runner.run(keep) for keep in keeps]
        if not runner.is_dry_run:
            if changes is not None:
                await asyncio.to_thread(
                    write_changes, changes, all_changes(results), runner.clock()
                )
            await _store_states(results, cache, [keep.owner for keep in every])
    return results


def lock_path(cache: Cache) -> Path:
    return cache.folder / "keep"


def all_changes(results: Sequence[KeepResult]) -> list[Change]:
    """The changes of all tables without duplicates."""
    return list(dict.fromkeys(change for result in results for change in result.changes))


async def _store_states(results: Sequence[KeepResult], cache: Cache, owners: Sequence[str]) -> None:
    states = KeepStates(cache.records)
    for result in results:
        await states.put(result.keep.owner, result.state)
    await states.retain(owners)
    await cache.pins.retain(owners)


class Schedule:
    """Runs each table at its interval, counted from the start of its last run by any process.

    A run is early if a policy, such as a cooldown, may let more files pass than in the last run.
    """

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
        self._ran: dict[str, float] = {}  # states may not be writable

    async def run_forever(self) -> None:
        """Run until cancelled. Errors are logged."""
        pause = 0.0
        while True:
            await asyncio.sleep(pause)
            pause = min(SCHEDULE_POLL, await self.run_due())

    async def run_due(self) -> float:
        """Run the tables that are due; seconds until the next one is due."""
        due = [keep for keep in self._keeps if await self._seconds_left(keep) <= 0]
        if due:
            began = self._clock()
            try:
                for result in await sync(due, self._runner, self._keeps, self._changes):
                    _log(result)
            except SyncRunning:
                return LOCK_POLL
            except (ProxyError, OSError) as error:
                log.error("keep tables could not be run: %s", error)
                return SCHEDULE_POLL
            self._ran |= {keep.owner: began for keep in due}
        return max(0.0, min([await self._seconds_left(keep) for keep in self._keeps]))

    async def _seconds_left(self, keep: Keep) -> float:
        """Seconds until the table is due."""
        state = await KeepStates(self._runner.proxy.cache.records).get(keep.owner)
        ran, now = max(state.ran, self._ran.get(keep.owner, 0.0)), self._clock()
        if ran > now:  # the clock was set back
            return 0.0
        due = ran + keep.every
        if state.not_after is not None and ran == state.ran:  # the last run could store it
            due = min(due, max(state.not_after, ran + MATURITY_INTERVAL))
        return due - now


def _log(result: KeepResult) -> None:
    keep = result.keep
    for missing in result.missing:
        log.error("keep %s: missing %s: %s", keep, missing.line, missing.reason)
    for skipped in result.needs.skipped:
        log.error("keep %s: cannot be fetched from an index: %s", keep, skipped)
    for change in result.changes:
        log.info("keep %s: %s %s", keep, change.change, change.filename)
    log.info("keep %s: %d files, fetched %d", keep, len(result.needs.files), len(result.fetched))
