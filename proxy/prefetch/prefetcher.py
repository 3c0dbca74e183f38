"""The prefetcher: guesses from each answer what its client will request next.

A page leads to the metadata of the wheel that the client will choose. Metadata lead to the pages
of the requirements and, once a client has requested them, to the wheel. ``scheduler`` decides
when and how many guesses are fetched.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from proxy.distributions import required_projects
from proxy.events import AnswerServed, Outcome, RequestKind
from proxy.model import METADATA, File, ProjectName, ProjectPage, sources_of
from proxy.prefetch.choose_wheel import choose_wheel
from proxy.prefetch.fetcher import MAX_WHEEL, Fetcher
from proxy.prefetch.scheduler import BUSY_PAUSE, Refresher, Scheduler, Work
from proxy.prefetch.sessions import MAX_PROJECTS, InstallHistory, Session, Sessions

MAX_DEPTH = 20
"""Steps from a request to a guess."""
FROM_UPSTREAM = (Outcome.MISS, Outcome.JOINED)
DELIVERED_STATUSES = (200, 206, 304)
"""Statuses of answers by which a client has the page or file, or a part of the file."""


class PrefetchLimits(NamedTuple):
    """From which mirrors, by name, less is prefetched than pages, metadata and wheels."""

    nothing: frozenset[str] = frozenset()
    """Nothing follows from their pages, and these are not revalidated before they expire."""
    no_files: frozenset[str] = frozenset()

    def allow_guesses(self, page: ProjectPage) -> bool:
        return self.nothing.isdisjoint(sources_of(page))

    def allow_files(self, page: ProjectPage) -> bool:
        return (self.nothing | self.no_files).isdisjoint(sources_of(page))


class Prefetcher:
    """Observes every answer of one index, and fetches what its client may request next."""

    def __init__(
        self,
        fetcher: Fetcher,
        history: InstallHistory,
        scheduler: Scheduler,
        *,
        limits: PrefetchLimits,
        refresher: Refresher,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._fetcher = fetcher
        self._history = history
        self._scheduler = scheduler
        self._limits = limits
        self._refresher = refresher
        self._clock = clock
        self._sessions = Sessions()

    def observe(self, event: AnswerServed) -> None:
        """``event``: of an answer of the index."""
        if event.project and event.method == "GET" and event.status in DELIVERED_STATUSES:
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
            guesses = event.page is None or self._limits.allow_guesses(event.page)
            if guesses:
                self._refresher.requested(project, event.page)
            session.ask(project)
            if new and event.page and guesses:
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

    async def refresh(self) -> None:
        """Revalidate the pages in use that expire soon."""
        await self._refresher.refresh()

    async def remember(self, now: float) -> None:
        """Record sessions that have ended at that Unix time in seconds."""
        for session in list(self._sessions.end(now)):
            if session.fetched and session.client:
                await self._history.remember(session.taken)

    # Guesses after a request.

    async def _follow_page(self, session: Session, page: ProjectPage) -> None:
        """Continues after the metadata only if the version is known."""
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
        wheels = client.installs and self._limits.allow_files(page)
        if page.fresh_until is not None and wheels:
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

    # Guesses after a guess.

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
        if not self._limits.allow_guesses(page):
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
