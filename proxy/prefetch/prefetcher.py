"""What may be asked for next, worked out from what was asked: the chain of guesses.

A page leads to the metadata of the wheel that will be picked, metadata to the pages of what
it needs and, once a client has asked for it, to the wheel. When and how many guesses are
followed up is in ``runner``.

Speculation put together and kept going: what has to be done from time to time.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial

from proxy.distributions import required_projects
from proxy.events import AnswerDelivered, Events, Outcome
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


class Prefetcher:
    """Told of every answer; fetches what may be asked for next."""

    def __init__(
        self,
        fetching: Fetcher,
        together: InstallHistory,
        runner: Scheduler,
        *,
        files: bool,
        in_use: Callable[[ProjectPage], None] = lambda page: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``files``: whether wheels are fetched too, and not only pages and metadata.

        ``in_use`` is told of each page that is asked for.
        """
        self._together = together
        self._runner = runner
        self._files = files
        self._in_use = in_use
        self._clock = clock
        self._fetching = fetching
        self._sessions = Sessions()
        self.observe = fetching.observe

    @property
    def counts(self) -> PrefetchStats:
        return self._fetching.counts

    @property
    def idle(self) -> bool:
        """Whether there is nothing left to guess for now."""
        return self._runner.idle

    def asked(self, asked: AnswerDelivered) -> None:
        """A client has its answer, or a streamed one has begun. Costs next to nothing.

        What came from the cache leads to no guess: then the rest is likely there, too.
        """
        session = self._sessions.of(asked, self._clock())
        foreseen = self._fetching.asked(asked.project, asked.filename)
        new = asked.outcome in FROM_UPSTREAM and not asked.held
        session.fetched |= new or foreseen
        if asked.page is not None:
            self._in_use(asked.page)
            session.ask(asked.project)
            if new:
                self._soon(partial(self._follow_page, session, asked.page))
            if asked.outcome is Outcome.MISS and not foreseen and session.client:
                self._soon(partial(self._recall, session, asked.project))
        elif asked.filename.endswith(METADATA):
            session.take(asked.project, asked.filename.removesuffix(METADATA))
            if new or foreseen or asked.outcome is Outcome.LOCAL:
                self._soon(partial(self._follow_metadata, session, asked))

    def _soon(self, work: Work) -> None:
        self._runner.add(0, work, pause=BUSY_PAUSE)

    async def sweep(self) -> None:
        """Put down what is over: sessions, and things nobody asked for."""
        self._fetching.sweep()
        await self._remember(self._clock())

    async def close(self) -> None:
        await self._runner.close()
        await self._remember(float("inf"))

    async def _remember(self, now: float) -> None:
        for session in list(self._sessions.end(now)):
            if session.fetched and session.client:
                await self._together.remember(session.taken)

    # What follows from what a client asked.

    async def _follow_page(self, session: Session, page: ProjectPage) -> None:
        """Further than to the metadata it is followed only if something is known of the choice."""
        await self._candidate(session, page, 0, further=bool(session.specifiers(page.project)))

    async def _follow_metadata(self, session: Session, asked: AnswerDelivered) -> None:
        client = session.client
        if client is None:
            return
        page = await self._fetching.page(asked.project)
        wheel = page.file(asked.filename.removesuffix(METADATA), asked.digest)
        if page.fresh_until is not None and self._files and client.installs:
            work = partial(self._fetching.wheel, page.project, wheel)
            self._runner.add(-(wheel.size or 0), work, file=True)  # small ones are soon had later
        await self._metadata(session, page, wheel, 0, further=True)
        if asked.project in session.asked:
            newest = session.newest.get(page.project) or _name(
                await choose_wheel(page, client.target)
            )
            session.asked[asked.project] = "" if newest == wheel.filename else wheel.filename

    async def _recall(self, session: Session, project: ProjectName) -> None:
        for taken in await self._together.recall(project):
            if taken.project not in session.recalled and taken.project not in session.asked:
                session.recalled.add(taken.project)
                work = partial(self._page, session, taken.project, 1, taken.filename)
                self._runner.add(1, work)

    # What follows from guesses.

    async def _page(
        self, session: Session, project: ProjectName, depth: int, filename: str | None = None
    ) -> None:
        """The page; ``filename``: what was taken of it another time, empty for the newest."""
        page = await self._fetching.page(project)
        if page.fresh_until is None:
            return  # a private one
        taken = _listed(page, filename) if filename else None
        if taken and _worth_guessing(taken):
            await self._metadata(session, page, taken, depth, further=False)
        else:
            await self._candidate(session, page, depth, further=filename is None)

    async def _candidate(
        self, session: Session, page: ProjectPage, depth: int, further: bool
    ) -> None:
        """The metadata of the wheel that will be picked."""
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
        """The metadata of the wheel; ``further``: and the pages of what it needs."""
        if session.known.get(page.project) == wheel.filename:
            return
        data = await self._fetching.metadata(page.project, wheel)
        if not further or session.client is None or depth >= MAX_DEPTH:
            return
        session.known[page.project] = wheel.filename
        extras = session.extras.get(page.project, ())
        for need in await required_projects(data, session.client.markers, extras):
            if session.need(page.project, need):
                self._runner.add(depth + 1, partial(self._page, session, need.project, depth + 1))


def _worth_guessing(wheel: File) -> bool:
    """Whether its metadata can be had, if need be by fetching the wheel: that may have to be."""
    return bool(wheel.metadata) and (wheel.size or 0) <= MAX_WHEEL


def _name(file: File | None) -> str:
    return file.filename if file else ""


def _listed(page: ProjectPage, filename: str) -> File | None:
    return next((file for file in page.files if file.filename == filename), None)


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
