"""When a mirror asks upstream for a page, and what it answers meanwhile or instead.

What it makes of upstream's answer is in ``refresh``.

The pages of a mirror that opens no connection: what is stored is the world.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from proxy.errors import NoSuchProject, UpstreamError
from proxy.events import Observer, Outcome, UpstreamFailed
from proxy.indexes.mirror.freshness import Freshness, Lifetimes, freshness
from proxy.indexes.mirror.page_cache import LoadedPage, PageCache
from proxy.indexes.mirror.refresh import Answer, Refresh
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import BackgroundQueue, BoundedDict, SingleFlight
from proxy.storage import BlobStore, CachedFiles
from proxy.upstream import Remote

ABSENCE_PAUSE = 5.0
"""Seconds in which a failing or slow upstream is not asked again while a stale page stands in."""
MAX_ABSENCES = 10_000
"""Names remembered as absent; anybody may ask for names that do not exist."""


class MirrorPages:
    """Pages of one upstream: one shared refresh a page, and a stale page rather than none."""

    final = False

    def __init__(
        self,
        name: str,
        remote: Remote,
        memory: PageCache,
        events: Observer,
        lifetimes: Lifetimes,
        *,
        soft_deadline: float = 3.0,
        honour_no_store: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """After ``soft_deadline`` seconds a stale page is answered; the refresh goes on.

        ``honour_no_store`` as in ``Refresh``.
        """
        self._name = name
        self._memory = memory
        self._events = events
        self._lifetimes = lifetimes
        self._soft_deadline = soft_deadline
        self._clock = clock
        self._ask = Refresh(name, remote, memory, lifetimes, clock, honour_no_store=honour_no_store)
        self._absent: BoundedDict[ProjectName, float] = BoundedDict(MAX_ABSENCES)
        self._resting: BoundedDict[ProjectName, float] = BoundedDict(MAX_ABSENCES)
        self._flights: SingleFlight[ProjectName, Answer] = SingleFlight()
        self._behind = BackgroundQueue(self._recheck)

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> Answer:
        """Raises ``NoSuchProject`` and ``UpstreamError``."""
        known, now = self._memory.get(project), self._clock()
        if (  # the usual case, without the calls of ``freshness``
            known
            and now < (known.page.fresh_until or 0.0)
            and checked_after <= known.head.checked <= now + self._lifetimes.maximum
        ):
            return known.page, Outcome.HIT
        if self._is_absent(project, checked_after):
            raise NoSuchProject(project)
        state = self._freshness(known)
        if state is not Freshness.FRESH:
            known = await self._memory.load(project)
            state = self._freshness(known)
        if known and known.head.checked >= checked_after:
            if state is Freshness.FRESH:
                return known.page, Outcome.HIT
            if self._rests(project, state):
                return stale(known)
            if state is Freshness.GRACE:
                self._behind.add(project)
                return stale(known)
        return await self._refreshed(project, known, state)

    async def renewed(self, project: ProjectName, since: float) -> Answer:
        """The page as upstream has had it since then, in Unix time; raises as ``page``.

        It is asked for without validators: links may have been signed again although the page
        is still called the same.
        """
        known = await self._memory.load(project)
        if known and known.head.checked >= since:
            return known.page, Outcome.HIT
        flight = self._flights.start(project, lambda: self._refresh(project, known, whole=True))
        return await asyncio.shield(flight)

    def recheck(self, project: ProjectName) -> None:
        """Upstream's page is likely out of date (a file vanished or changed): ask it anew."""
        self._anew(project)

    def forget(self, project: ProjectName | None) -> None:
        if project is None:
            self._absent.clear()
        else:
            self._absent.pop(project, None)

    async def close(self) -> None:
        await self._behind.close()
        await self._flights.close()

    async def _recheck(self, project: ProjectName) -> None:
        if self._freshness(await self._memory.load(project)) is not Freshness.FRESH:
            await asyncio.wait({self._anew(project)})  # no other process has done it

    def _anew(self, project: ProjectName) -> asyncio.Task[Answer]:
        async def work() -> Answer:
            return await self._refresh(project, await self._memory.load(project))

        return self._flights.start(project, work)

    async def _refreshed(
        self, project: ProjectName, known: LoadedPage | None, state: Freshness
    ) -> Answer:
        joined = self._flights.under_way(project)
        flight = self._flights.start(project, lambda: self._refresh(project, known))
        if known and state is not Freshness.UNUSABLE:
            await asyncio.wait({flight}, timeout=self._soft_deadline)
            if not flight.done():
                self._resting[project] = (
                    self._clock() + ABSENCE_PAUSE
                )  # others need not wait as well
                return stale(known)
        page, outcome = await asyncio.shield(flight)
        return page, Outcome.JOINED if joined and outcome is Outcome.MISS else outcome

    async def _refresh(
        self, project: ProjectName, known: LoadedPage | None, *, whole: bool = False
    ) -> Answer:
        if known and self._rests(project, self._freshness(known)):
            return stale(known)
        try:
            answer = await self._ask(project, known, whole=whole)
        except NoSuchProject:
            self._absent[project] = self._clock()
            raise
        except UpstreamError as error:
            self._events(UpstreamFailed(self._name, project, error.reason))
            if known is None or self._freshness(known) is Freshness.UNUSABLE:
                raise
            self._resting[project] = self._clock() + ABSENCE_PAUSE
            return stale(known)
        self._absent.pop(project, None)
        self._resting.pop(project, None)
        return answer

    def _freshness(self, known: LoadedPage | None) -> Freshness:
        return freshness(known.head if known else None, self._clock(), self._lifetimes)

    def _rests(self, project: ProjectName, state: Freshness) -> bool:
        return state is not Freshness.UNUSABLE and self._resting.get(project, 0.0) > self._clock()

    def _is_absent(self, project: ProjectName, checked_after: float) -> bool:
        checked = self._absent.get(project)
        if checked is None:
            return False
        return checked >= checked_after and 0 <= self._clock() - checked < self._lifetimes.absence


def stale(known: LoadedPage) -> Answer:
    return msgspec.structs.replace(known.page, fresh_until=0.0), Outcome.STALE


RECOUNT_INTERVAL = 10.0
"""Seconds for which a list of held files may be repeated."""


class OfflinePages:
    """Stored pages, however old, with the files that can really be had."""

    final = True

    def __init__(
        self,
        memory: PageCache,
        store: BlobStore,
        held: CachedFiles,
        clock: Callable[[], float],
        *,
        list_all: bool = False,
    ) -> None:
        """``list_all``: list also files that are not held, as upstream once did."""
        self._memory = memory
        self._store = store
        self._held = held
        self._clock = clock
        self._list_all = list_all

    async def page(
        self, project: ProjectName, checked_after: float = 0.0
    ) -> tuple[ProjectPage, Outcome]:
        """Raises ``NoSuchProject`` for what is not stored."""
        known = await self._memory.load(project)
        if known is None:
            raise NoSuchProject(project, "offline, and the cache has no page of it")
        page = known.page if self._list_all else await self._only_held(known.page)
        now = self._clock()
        return msgspec.structs.replace(
            page, fresh_until=now + RECOUNT_INTERVAL, checked=now
        ), Outcome.HIT

    async def renewed(self, project: ProjectName, since: float) -> tuple[ProjectPage, Outcome]:
        """As ``page``: there can be no newer one."""
        return await self.page(project)

    def recheck(self, project: ProjectName) -> None:
        """Nobody can be asked."""

    def forget(self, project: ProjectName | None) -> None:
        """Nothing is kept here."""

    async def close(self) -> None:
        """Nothing runs."""

    async def _only_held(self, page: ProjectPage) -> ProjectPage:
        held = await self._held_without_sha256(page)
        stored = await self._store.present({key for file in page.files if (key := file.sha256)})

        def is_held(file: File) -> bool:
            return file.sha256 in stored if file.sha256 else file.filename in held

        return await asyncio.to_thread(page.keep, is_held)

    async def _held_without_sha256(self, page: ProjectPage) -> set[str]:
        """Those files of which upstream tells no sha256: what they once had is remembered."""
        files = [file for file in page.files if not file.sha256]
        names = await self._held.names(page.project) if files else set()
        return {
            file.filename
            for file in files
            if (file.address_digest, file.filename) in names
            and (held := await self._held.get(page.project, file.address_digest, file.filename))
            and await self._store.has(held.sha256)
        }
