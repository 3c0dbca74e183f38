"""The prefetcher: guesses from each answer what its client will request next.

A page leads to the metadata of the wheel that the client will choose. Metadata lead to the pages
of the requirements and, once a client has requested them, to the wheel. ``scheduler`` decides
when and how many guesses are fetched.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from proxy.distributions import required_projects
from proxy.events import AnswerServed, Event, Events, Outcome, RequestKind
from proxy.indexes import Index
from proxy.model import METADATA, File, ProjectName, ProjectPage
from proxy.prefetch.choose_wheel import choose_wheel
from proxy.prefetch.fetcher import MAX_WHEEL, Fetcher, PrefetchStats, WorkerMarks
from proxy.prefetch.scheduler import BUSY_PAUSE, Refresher, Scheduler, Work
from proxy.prefetch.sessions import MAX_PROJECTS, InstallHistory, Session, Sessions
from proxy.runtime import SharedCounters
from proxy.storage import Records

MAX_DEPTH = 20
"""Steps from a request to a guess."""
FROM_UPSTREAM = (Outcome.MISS, Outcome.JOINED)
DELIVERED_STATUSES = (200, 206, 304)
"""Statuses of answers by which a client has the page or file, or a part of the file."""


class Prefetcher:
    """Observes every answer of one index, and fetches what its client may request next."""

    def __init__(
        self,
        index: str,
        fetcher: Fetcher,
        history: InstallHistory,
        scheduler: Scheduler,
        *,
        files: bool,
        refresher: Refresher,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``index``: the name of the index whose answers count; ``files``: whether wheels are
        fetched too, and not only pages and metadata.
        """
        self._index = index
        self._fetcher = fetcher
        self._history = history
        self._scheduler = scheduler
        self._files = files
        self._refresher = refresher
        self._clock = clock
        self._sessions = Sessions()

    @property
    def stats(self) -> PrefetchStats:
        return self._fetcher.stats

    @property
    def idle(self) -> bool:
        """Whether no guess runs or waits."""
        return self._scheduler.idle

    def observe(self, event: Event) -> None:
        if (
            isinstance(event, AnswerServed)
            and event.index == self._index
            and event.project
            and event.method == "GET"
            and event.status in DELIVERED_STATUSES
        ):
            self._served(event, event.project)

    def _served(self, event: AnswerServed, project: ProjectName) -> None:
        """A client has its answer. Takes microseconds.

        An answer from the cache leads to no guess: the rest is probably in the cache, too.
        """
        session = self._sessions.of(event, self._clock())
        foreseen = self._fetcher.requested(project, event.filename)
        new = event.outcome in FROM_UPSTREAM and event.status != 304
        session.fetched |= new or foreseen
        if event.kind is RequestKind.PAGE:
            self._refresher.requested(project, event.page)
            session.ask(project)
            if new and event.page:
                self._follow(partial(self._follow_page, session, event.page))
            if event.outcome is Outcome.MISS and not foreseen and session.client:
                self._follow(partial(self._recall, session, project))
        elif event.kind is RequestKind.METADATA:
            wheel = event.filename.removesuffix(METADATA)
            session.take(project, wheel)
            local = event.outcome is Outcome.LOCAL and session.known.get(project) != wheel
            if new or foreseen or local:
                self._follow(partial(self._follow_metadata, session, project, wheel, event.digest))

    def _follow(self, work: Work) -> None:
        self._scheduler.add(0, work, pause=BUSY_PAUSE)

    async def sweep(self) -> None:
        """Record sessions that have ended, and give up prefetched things that no client used."""
        self._fetcher.sweep()
        await self._remember(self._clock())

    async def close(self) -> None:
        await self._scheduler.close()
        await self._remember(float("inf"))

    async def _remember(self, now: float) -> None:
        for session in list(self._sessions.end(now)):
            if session.fetched and session.client:
                await self._history.remember(session.taken)

    # What follows from a request.

    async def _follow_page(self, session: Session, page: ProjectPage) -> None:
        """Goes beyond the metadata only if something is known about the version."""
        await self._candidate(session, page, 0, further=bool(session.specifiers(page.project)))

    async def _follow_metadata(
        self, session: Session, project: ProjectName, filename: str, digest: str
    ) -> None:
        """``filename`` and ``digest``: of the wheel."""
        client = session.client
        if client is None:
            return
        page = await self._fetcher.page(project)
        wheel = page.file(filename, digest)
        if page.fresh_until is not None and self._files and client.installs:
            work = partial(self._fetcher.wheel, project, wheel)
            # Large wheels first: small ones take little time when they are requested.
            self._scheduler.add(-(wheel.size or 0), work, file=True)
        await self._metadata(session, page, wheel, 0, further=True)
        if project in session.asked:
            newest = session.newest.get(project) or _name(await choose_wheel(page, client.target))
            session.asked[project] = "" if newest == filename else filename

    async def _recall(self, session: Session, project: ProjectName) -> None:
        for taken in await self._history.recall(project):
            if taken.project not in session.recalled and taken.project not in session.asked:
                session.recalled.add(taken.project)
                work = partial(self._page, session, taken.project, 1, taken.filename)
                self._scheduler.add(1, work)

    # What follows from a guess.

    async def _page(
        self, session: Session, project: ProjectName, depth: int, filename: str | None = None
    ) -> None:
        """Fetch the page. ``filename``: what an earlier install took of it; empty: the newest."""
        page = await self._fetcher.page(project)
        if page.fresh_until is None:
            return  # a private project
        taken = _listed(page, filename) if filename else None
        if taken and _worth_guessing(taken):
            await self._metadata(session, page, taken, depth, further=False)
        else:
            await self._candidate(session, page, depth, further=filename is None)

    async def _candidate(
        self, session: Session, page: ProjectPage, depth: int, further: bool
    ) -> None:
        """Fetch the metadata of the wheel that the client will choose."""
        if session.client is None or not session.predictable:
            return
        specifiers = session.specifiers(page.project)
        wheel = await choose_wheel(page, session.client.target, specifiers)
        if not specifiers and wheel and len(session.newest) < MAX_PROJECTS:
            session.newest[page.project] = wheel.filename
        if wheel is None or not _worth_guessing(wheel):
            return
        news = session.choose(page.project, wheel.filename)
        if news or (further and page.project not in session.known):
            await self._metadata(session, page, wheel, depth, further)

    async def _metadata(
        self, session: Session, page: ProjectPage, wheel: File, depth: int, further: bool
    ) -> None:
        """Fetch the metadata of the wheel; ``further``: and the pages of its requirements."""
        if session.known.get(page.project) == wheel.filename:
            return
        data = await self._fetcher.metadata(page.project, wheel)
        if not further or session.client is None or depth >= MAX_DEPTH:
            return
        session.known[page.project] = wheel.filename
        extras = session.extras.get(page.project, ())
        for need in await required_projects(data, session.client.markers, extras):
            if session.need(page.project, need):
                work = partial(self._page, session, need.project, depth + 1)
                self._scheduler.add(depth + 1, work)


def _worth_guessing(wheel: File) -> bool:
    """Whether its metadata are offered, and cheap: they may have to be read from the wheel."""
    return bool(wheel.metadata) and (wheel.size or 0) <= MAX_WHEEL


def _name(file: File | None) -> str:
    return file.filename if file else ""


def _listed(page: ProjectPage, filename: str) -> File | None:
    return next((file for file in page.files if file.filename == filename), None)


log = logging.getLogger(__name__)

SWEEP_INTERVAL = 5.0
"""Seconds between two sweeps, and between two refreshes."""
STATS_INTERVAL = 600.0
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
    marks: WorkerMarks | None = None,
    clock: Callable[[], float] = time.time,
) -> AsyncIterator[Prefetcher]:
    """Prefetch for one index that is served. At the end, open sessions are recorded.

    ``in_flight``: the number of requests that upstream is answering now, at most ``connections``.
    ``files``: prefetch wheels, too. ``marks``: what clients request from other processes.
    """
    refresher = Refresher(index, clock=clock)
    prefetcher = Prefetcher(
        index.name,
        Fetcher(index, events, marks or WorkerMarks(SharedCounters.single_process()), clock=clock),
        InstallHistory(records, index.name),
        Scheduler(in_flight, connections),
        files=files,
        refresher=refresher,
        clock=clock,
    )
    events.subscribe(prefetcher.observe)
    tasks = [
        asyncio.create_task(_sweep(prefetcher, clock)),
        asyncio.create_task(_refresh(refresher)),
    ]
    try:
        yield prefetcher
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await prefetcher.close()
        if prefetcher.stats.fetched:
            log.info("prefetching: %s", prefetcher.stats)


async def _sweep(prefetcher: Prefetcher, clock: Callable[[], float]) -> None:
    logged, when = PrefetchStats(), clock()
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        await prefetcher.sweep()
        if prefetcher.stats != logged and clock() - when >= STATS_INTERVAL:
            logged, when = prefetcher.stats, clock()
            log.info("prefetching: %s", logged)


async def _refresh(refresher: Refresher) -> None:
    while True:
        await asyncio.sleep(SWEEP_INTERVAL)
        await refresher.refresh()
