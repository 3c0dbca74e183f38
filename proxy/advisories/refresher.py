"""Checks the source of advisories on a schedule, and publishes what is new to all processes."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from proxy.advisories.advisory_store import AdvisoryStore, SourceState, reason_of
from proxy.advisories.build_process import Build, build
from proxy.advisories.collection import Advisory
from proxy.advisories.sources import UnusableAdvisories, state_of
from proxy.errors import ProxyError
from proxy.events import AdvisoriesChecked, CheckResult, Observer
from proxy.model import ProjectName
from proxy.runtime import in_thread, try_lock

log = logging.getLogger(__name__)

LOOK_INTERVAL = 1.0
"""Seconds between two looks at what other processes have published, at most."""
RETRY_AFTER = 60.0
"""Seconds after a failed check until the next one, at most."""
FIRST_WAIT = 20.0
"""Seconds that the first start on a cache waits for its first collection."""
ANNOUNCED_AT_ONCE = 500
"""Projects that are announced as changed before other work may go on."""
WARN_EVERY = 3600.0
"""Seconds between two warnings that the advisories are old."""


class Fetched(msgspec.Struct, frozen=True):
    """A source that has changed."""

    path: Path
    """A folder or archive on this machine."""
    state: SourceState
    """Identifies this content, without times."""


class AdvisorySource(Protocol):
    @property
    def name(self) -> str:
        """The address, without credentials."""

    async def fetch(self, known: SourceState) -> Fetched | None:
        """None: nothing has changed since ``known``.

        Raises ``ProxyError``, ``OSError`` and ``UnusableAdvisories``.
        """


class LocalSource:
    """A folder of JSON documents, or a zip archive of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    @property
    def name(self) -> str:
        return str(self._path)

    async def fetch(self, known: SourceState) -> Fetched | None:
        state = await in_thread(state_of, self._path)
        if state == known.last_modified:
            return None
        return Fetched(self._path, SourceState(last_modified=state))


class AdvisoryRefresher:
    """Of several processes, one checks the source; all take over what it publishes."""

    def __init__(
        self,
        store: AdvisoryStore,
        source: AdvisorySource | None,
        events: Observer,
        changed: Callable[[Sequence[ProjectName]], None],
        *,
        every: float,
        max_age: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``source`` is None if it must not be asked. ``changed`` gets the projects whose
        advisories changed. ``every``, ``max_age``: in seconds.
        """
        self._store = store
        self._source = source
        self._events = events
        self._changed = changed
        self._every = every
        self._max_age = max_age
        self._clock = clock
        self._warned = 0.0

    def about(self, project: ProjectName) -> tuple[Advisory, ...]:
        """The advisories about a project."""
        return self._store.advisories.about(project)

    @property
    def records(self) -> int:
        """The number of records of the present collection."""
        return self._store.advisories.records

    @property
    def age(self) -> float:
        """Seconds since the last check that succeeded; infinite if none has."""
        checked = self._store.state.checked
        return self._clock() - checked if checked else float("inf")

    async def start(self) -> None:
        """Load the collection; without one, wait a while for the first."""
        await in_thread(self._store.refresh)
        if self._store.exists or self._source is None or not self._store.lock.parent.is_dir():
            return
        try:
            async with asyncio.timeout(FIRST_WAIT):
                while not self._store.exists and not self._store.state.failure:
                    await self.step()
                    await asyncio.sleep(0 if self._store.exists else 0.1)
        except TimeoutError:
            log.warning("there are no advisories yet; the server starts without them")

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            try:
                await self.step()
                self.warn_if_old()
            except Exception:  # a fault here must not end all further checks
                log.exception("the advisories were not checked")
            await asyncio.sleep(min(LOOK_INTERVAL, self._every))

    async def step(self) -> None:
        """Check the source if that is due; take over and announce what is new."""
        if self._source is not None and self._is_due(self._source):
            with try_lock(self._store.lock) as mine:
                await self._take_over()  # perhaps another process has just checked
                if mine and self._is_due(self._source):
                    await self._check(self._source)
        await self._take_over()

    def _is_due(self, source: AdvisorySource) -> bool:
        state, now = self._known(source), self._clock()
        if not self._store.exists and not state.failure:
            return True
        if state.failure:
            return not 0 <= now - state.tried < min(self._every, RETRY_AFTER)
        return not 0 <= now - state.checked < self._every

    def _known(self, source: AdvisorySource) -> SourceState:
        """The state, if it is that of this source."""
        state = self._store.state
        return state if state.source == source.name else SourceState()

    async def _check(self, source: AdvisorySource) -> None:
        known, now = self._known(source), self._clock()
        try:
            asked = known if self._store.exists else SourceState()
            fetched = await source.fetch(asked)
            index = await self._built(fetched, bool(known.source)) if fetched else None
        except (ProxyError, OSError, UnusableAdvisories) as error:
            why = reason_of(error)
            log.error("the advisories of %s cannot be used: %s; the last ones stay in force",
                      source.name, why)  # fmt: skip
            state = msgspec.structs.replace(known, source=source.name, tried=now, failure=why)
            self._events(AdvisoriesChecked(CheckResult.FAILED))
            await self._publish(None, state)
            return
        new = fetched.state if fetched else known
        state = msgspec.structs.replace(new, source=source.name, checked=now, tried=now, failure="")
        await self._publish(index, state)
        self._events(AdvisoriesChecked(CheckResult.NEW if fetched else CheckResult.UNCHANGED))

    async def _built(self, fetched: Fetched, is_same_source: bool) -> Path:
        """A file with the new collection. Raises ``OSError`` and ``UnusableAdvisories``."""
        target = self._store.new_index()
        former = self._store.advisories.records if is_same_source else 0
        outcome = await build(fetched.path, target, former)
        if outcome.reason:
            raise UnusableAdvisories(outcome.reason)
        _report(outcome)
        return target

    async def _publish(self, index: Path | None, state: SourceState) -> None:
        try:
            await in_thread(self._store.publish, index, state)
        except OSError as error:
            log.error("the advisories are not stored: %s", reason_of(error))

    async def _take_over(self) -> None:
        if not self._store.has_news:
            return
        changed = await in_thread(self._store.refresh)
        for start in range(0, len(changed), ANNOUNCED_AT_ONCE):
            self._changed(changed[start : start + ANNOUNCED_AT_ONCE])
            await asyncio.sleep(0)
        if changed:
            log.info("advisories: %d records; they differ for %d projects",
                     self._store.advisories.records, len(changed))  # fmt: skip

    def warn_if_old(self) -> None:
        now = self._clock()
        if self.age > self._max_age and not 0 <= now - self._warned < WARN_EVERY:
            self._warned = now
            log.warning(
                "the advisories were last checked %s; rules go on with what is known",
                f"{self.age / 3600:.0f} hours ago" if self.age < float("inf") else "never",
            )


def _report(outcome: Build) -> None:
    if outcome.skipped or outcome.ignored_ranges:
        log.warning(
            "advisories: %d documents are no usable records%s, "
            "and %d ranges have no usable versions",
            outcome.skipped,
            f" (such as {outcome.first_skipped})" if outcome.skipped else "",
            outcome.ignored_ranges,
        )
