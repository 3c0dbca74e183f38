"""The pages of a mirror: when upstream is asked, and what is answered meanwhile or instead.

What becomes of upstream's answer is in ``refresh``. ``OfflinePages`` never asks upstream.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import msgspec

from proxy.errors import NoSuchProject, UpstreamError
from proxy.events import Observer, Outcome, UpstreamFailed
from proxy.indexes.mirror.mirror_options import MirrorOptions, MirrorStorage
from proxy.indexes.mirror.page_cache import Freshness, LoadedPage, PageCache, freshness
from proxy.indexes.mirror.refresh import PageResult, Refresh
from proxy.indexes.mirror.shared_refresh import SharedRefresh
from proxy.model import File, ProjectName, ProjectPage
from proxy.runtime import BackgroundQueue, BoundedDict, SingleFlight
from proxy.upstream import (
    NotStored,
    RemoteIndex,
    TooManyRequests,
    may_ask_upstream,
    require_permit,
)

UPSTREAM_PAUSE = 5.0
"""Seconds in which a failing or slow upstream is not asked again for a page, if a stale one can
be answered."""
MAX_ABSENCES = 10_000
"""Projects remembered as absent; clients may ask for any name."""


class MirrorPages:
    """Pages of one upstream.

    All requests for a page share one revalidation; a stale page is answered rather than an error.
    """

    final = False

    def __init__(
        self,
        name: str,
        remote: RemoteIndex,
        memory: PageCache,
        storage: MirrorStorage,
        events: Observer,
        options: MirrorOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._memory = memory
        self._events = events
        self._lifetimes = options.lifetimes
        self._soft_deadline = options.soft_deadline
        self._clock = clock
        ask, leases = Refresh(name, remote, memory, options, clock), storage.page_leases
        self._shared = (
            SharedRefresh(name, storage.namespace, ask, memory, leases) if leases.shared else None
        )
        self._ask = self._shared or ask
        self._absent: BoundedDict[ProjectName, float] = BoundedDict(MAX_ABSENCES)
        self._resting: BoundedDict[ProjectName, float] = BoundedDict(MAX_ABSENCES)
        self._flights: SingleFlight[ProjectName, PageResult] = SingleFlight()
        self._background = BackgroundQueue(self._revalidate_stale)

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> PageResult:
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
        if known is None or self._freshness(known) is not Freshness.FRESH:
            known = await self._memory.load(project)
        state = self._freshness(known)
        if known and known.head.checked >= checked_after:
            if state is Freshness.FRESH:
                return known.page, Outcome.HIT
            if self._rests(project, state):
                return stale(known)
            if state is Freshness.STALE_WHILE_REVALIDATE:
                if may_ask_upstream():
                    self._background.add(project)
                return stale(known)
        return await self._refreshed(project, known, state)

    async def renewed(self, project: ProjectName, since: float) -> PageResult:
        """The page, revalidated at or after that Unix time in seconds; raises as ``page``.

        Asks without validators: the links may be signed again while the ETag stays the same.
        """
        known = await self._memory.load(project)
        if known and known.head.checked >= since:
            return known.page, Outcome.HIT
        flight = self._flights.start(project, lambda: self._refresh(project, known, whole=True))
        return await asyncio.shield(flight)

    def recheck(self, project: ProjectName) -> None:
        """Revalidate in the background: a file of the page has vanished or changed upstream."""
        self._start_refresh(project)

    def forget(self, project: ProjectName | None) -> None:
        if project is None:
            self._absent.clear()
        else:
            self._absent.pop(project, None)

    async def close(self) -> None:
        await self._background.close()
        await self._flights.close()
        if self._shared:
            await self._shared.close()

    async def _revalidate_stale(self, project: ProjectName) -> None:
        """Unless another process has done it."""
        if self._freshness(await self._memory.load(project)) is not Freshness.FRESH:
            await asyncio.wait({self._start_refresh(project)})

    def _start_refresh(self, project: ProjectName) -> asyncio.Task[PageResult]:
        async def work() -> PageResult:
            return await self._refresh(project, await self._memory.load(project))

        return self._flights.start(project, work)

    async def _refreshed(
        self, project: ProjectName, known: LoadedPage | None, state: Freshness
    ) -> PageResult:
        joined = self._flights.is_running(project)
        try:
            if not joined:
                require_permit()
        except (TooManyRequests, NotStored):
            if known is None or state is Freshness.UNUSABLE:
                raise
            return stale(known)
        flight = self._flights.start(project, lambda: self._refresh(project, known))
        if known and state is not Freshness.UNUSABLE:
            await asyncio.wait({flight}, timeout=self._soft_deadline)
            if not flight.done():
                # So that the next requests do not wait as well.
                self._resting[project] = self._clock() + UPSTREAM_PAUSE
                return stale(known)
        page, outcome = await asyncio.shield(flight)
        return page, Outcome.JOINED if joined and outcome is Outcome.MISS else outcome

    async def _refresh(
        self, project: ProjectName, known: LoadedPage | None, *, whole: bool = False
    ) -> PageResult:
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
            self._resting[project] = self._clock() + UPSTREAM_PAUSE
            return stale(known)
        self._absent.pop(project, None)
        self._resting.pop(project, None)
        return answer

    def _freshness(self, known: LoadedPage | None) -> Freshness:
        return freshness(known.head if known else None, self._clock(), self._lifetimes)

    def _rests(self, project: ProjectName, state: Freshness) -> bool:
        return state is not Freshness.UNUSABLE and self._resting.get(project, 0.0) > self._clock()

    def absence(self, project: ProjectName) -> str:
        """Why there is certainly no page now, from what is remembered; empty if that is not so."""
        return f"{self._name} has no such project" if self._is_absent(project, 0.0) else ""

    def _is_absent(self, project: ProjectName, checked_after: float) -> bool:
        checked = self._absent.get(project)
        if checked is None:
            return False
        return checked >= checked_after and 0 <= self._clock() - checked < self._lifetimes.absence


def stale(known: LoadedPage) -> PageResult:
    return msgspec.structs.replace(known.page, fresh_until=0.0), Outcome.STALE


RECOUNT_INTERVAL = 10.0
"""Seconds for which an answer that lists the stored files may be repeated."""


class OfflinePages:
    """Stored pages, however old, with the files that are stored. Opens no connection."""

    final = True

    def __init__(
        self,
        memory: PageCache,
        storage: MirrorStorage,
        options: MirrorOptions,
        clock: Callable[[], float],
    ) -> None:
        self._memory = memory
        self._storage = storage
        self._list_all = options.list_all_offline
        self._clock = clock

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> PageResult:
        """Raises ``NoSuchProject`` for what is not stored."""
        known = await self._memory.load(project)
        if known is None:
            raise NoSuchProject(project, "offline, and the cache has no page of it")
        page = known.page if self._list_all else await self._with_stored_files(known.page)
        now = self._clock()
        page = msgspec.structs.replace(page, fresh_until=now + RECOUNT_INTERVAL, checked=now)
        return page, Outcome.HIT

    async def renewed(self, project: ProjectName, since: float) -> PageResult:
        """As ``page``: there can be no newer one."""
        return await self.page(project)

    def recheck(self, project: ProjectName) -> None:
        """Nothing: there is no upstream."""

    def absence(self, project: ProjectName) -> str:
        """There is no state beside the stored pages."""
        return ""

    def forget(self, project: ProjectName | None) -> None:
        """Nothing: no absence is remembered."""

    async def close(self) -> None:
        """Nothing: nothing runs."""

    async def _with_stored_files(self, page: ProjectPage) -> ProjectPage:
        digests = {digest for file in page.files if (digest := file.sha256)}
        stored = await self._storage.blobs.present(digests)
        without_sha256 = await self._stored_without_sha256(page)

        def is_stored(file: File) -> bool:
            return file.sha256 in stored if file.sha256 else file.filename in without_sha256

        return await asyncio.to_thread(page.keep, is_stored)

    async def _stored_without_sha256(self, page: ProjectPage) -> set[str]:
        """Names of stored files whose sha256 upstream does not list: a record has it."""
        files = [file for file in page.files if not file.sha256]
        recorded = await self._storage.files.names(page.project) if files else set()
        found = set()
        for file in files:
            digest, name = file.address_digest, file.filename
            if (digest, name) not in recorded:
                continue
            record = await self._storage.files.get(page.project, digest, name)
            if record and await self._storage.blobs.has(record.sha256):
                found.add(name)
        return found
