"""What may be asked next, worked out from what was asked: the chain of guesses.

A page leads to the metadata of the wheel that will be picked, metadata to the pages of what
it needs and, once a client has asked for it, to the wheel. All of it is asked of the index that
is served, so that names which must not go upstream do not, and a client that comes meanwhile
joins what is under way. How many guesses run at once is in ``runner``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from contextvars import ContextVar
from functools import partial

from proxy.events import Asked, Event, FileAnswered, Outcome, PageAnswered
from proxy.indexes.base import Index
from proxy.model import METADATA, File, ProjectName, ProjectPage
from proxy.speculation.candidates import choose
from proxy.speculation.ledger import Counts, Key, Ledger
from proxy.speculation.requirements import needs
from proxy.speculation.runner import Runner
from proxy.speculation.sessions import Session, Sessions
from proxy.speculation.together import Together

log = logging.getLogger(__name__)

LARGEST = 64 * 2**20
"""Bytes of a file that is fetched ahead."""
AHEAD = 256 * 2**20
"""Bytes of files that may be there, or under way, without anybody having asked for them."""
LARGEST_METADATA = 2**20
"""Bytes of metadata that are read for requirements."""
DEEPEST = 20
"""Steps from a request to a guess."""
FROM_UPSTREAM = (Outcome.MISS, Outcome.JOINED)

_outcome: ContextVar[list[Outcome]] = ContextVar("outcome")


class Speculation:
    """Told of every answer; fetches what may be asked next."""

    def __init__(
        self,
        index: Index,
        together: Together,
        runner: Runner,
        *,
        files: bool,
        in_use: Callable[[ProjectPage], None] = lambda page: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``files``: whether wheels are fetched too, and not only pages and metadata.

        ``in_use`` is told of each page that is asked for.
        """
        self._index = index
        self._together = together
        self._runner = runner
        self._files = files
        self._in_use = in_use
        self._clock = clock
        self._ledger = Ledger()
        self._sessions = Sessions()

    @property
    def counts(self) -> Counts:
        return self._ledger.counts

    def asked(self, asked: Asked) -> None:
        """A client has its answer, or is about to get it. Costs next to nothing."""
        now = self._clock()
        session = self._sessions.of(asked, now)
        foreseen = self._ledger.asked((asked.project, asked.filename))
        new = asked.outcome in FROM_UPSTREAM and not asked.held
        if new or foreseen:
            session.fetched = True
        if asked.page is not None:
            self._in_use(asked.page)
            session.ask(asked.project)
            if new:
                self._runner.add(0, partial(self._follow_page, session, asked.page))
            if asked.outcome is Outcome.MISS and not foreseen:
                self._runner.add(0, partial(self._recall, session, asked.project))
        elif asked.filename.endswith(METADATA):
            session.take(asked.project, asked.filename.removesuffix(METADATA))
            if new or foreseen or asked.outcome is Outcome.LOCAL:
                self._runner.add(0, partial(self._follow_metadata, session, asked))

    def observe(self, event: Event) -> None:
        """An observer: what the work of a guess came to."""
        if isinstance(event, PageAnswered | FileAnswered):
            outcomes = _outcome.get(None)
            if outcomes is not None:
                outcomes.append(event.outcome)

    async def sweep(self) -> None:
        """Put down what is over: sessions, and things nobody asked for."""
        now = self._clock()
        self._ledger.sweep(now)
        await self._remember(now)

    async def close(self) -> None:
        await self._runner.close()
        await self._remember(float("inf"))

    async def _remember(self, now: float) -> None:
        for session in list(self._sessions.end(now)):
            if session.fetched:
                await self._together.remember(session.taken)

    # What follows from what a client asked.

    async def _follow_page(self, session: Session, page: ProjectPage) -> None:
        await self._candidate(session, page, 0, further=bool(session.specifiers(page.project)))

    async def _follow_metadata(self, session: Session, asked: Asked) -> None:
        page = await self._index.page(asked.project)
        wheel = page.file(asked.filename.removesuffix(METADATA), asked.digest)
        client = session.client
        if client is None:
            return
        if page.fresh_until is not None and self._files and client.installs:
            self._runner.add(0, partial(self._wheel, page.project, wheel), file=True)
        if asked.project in session.asked:
            newest = await choose(page, client.target)
            usual = newest is None or newest.filename == wheel.filename
            session.asked[asked.project] = "" if usual else wheel.filename
        await self._metadata(session, page, wheel, 0, further=True)

    async def _recall(self, session: Session, project: ProjectName) -> None:
        for taken in await self._together.recall(project):
            if taken.project != project and taken.project not in session.asked:
                work = partial(self._page, session, taken.project, 1, taken.filename)
                self._runner.add(1, work)

    # What follows from guesses.

    async def _page(
        self, session: Session, project: ProjectName, depth: int, filename: str | None = None
    ) -> None:
        """The page; ``filename``: what was taken of it another time, empty for the newest."""
        key = (project, "")
        begun = self._ledger.begin(key, self._clock())
        outcomes = _watch()
        try:
            page = await self._index.page(project)
        finally:
            if begun:
                self._ledger.done(key, Outcome.MISS in outcomes)
        taken = _listed(page, filename) if filename else None
        if taken:
            await self._metadata(session, page, taken, depth, further=False)
        else:
            await self._candidate(session, page, depth, further=filename is None)

    async def _candidate(
        self, session: Session, page: ProjectPage, depth: int, further: bool
    ) -> None:
        """The metadata of the wheel that will be picked, if the page is not a private one."""
        if page.fresh_until is None or session.client is None or not session.predictable:
            return
        specifiers = session.specifiers(page.project)
        wheel = await choose(page, session.client.target, specifiers)
        if wheel and wheel.metadata and session.choose(page.project, wheel.filename):
            await self._metadata(session, page, wheel, depth, further)

    async def _metadata(
        self, session: Session, page: ProjectPage, wheel: File, depth: int, further: bool
    ) -> None:
        """The metadata of the wheel; ``further``: and the pages of what it needs."""
        if wheel.filename in session.known:
            return
        name = wheel.filename + METADATA
        data = await self._small((page.project, name), wheel.digest)
        if not further or session.client is None or depth >= DEEPEST:
            return
        session.known.add(wheel.filename)
        extras = session.extras.get(page.project, ())
        for need in await needs(data, session.client.markers, extras):
            if session.need(page.project, need):
                self._runner.add(depth + 1, partial(self._page, session, need.project, depth + 1))

    async def _small(self, key: Key, digest: str) -> bytes:
        begun = self._ledger.begin(key, self._clock())
        outcomes = _watch()
        data = b""
        try:
            artifact = await self._index.file(ProjectName(key[0]), key[1], digest)
            async for piece in artifact.blob.chunks(0, LARGEST_METADATA):
                data += piece
        finally:
            if begun:
                self._ledger.done(key, Outcome.MISS in outcomes, len(data))
        return data

    async def _wheel(self, project: ProjectName, wheel: File) -> None:
        key, size = (project, wheel.filename), wheel.size
        if not size or size > LARGEST or self._ledger.ahead + size > AHEAD:
            return
        outcomes = _watch()
        artifact = await self._index.file(project, wheel.filename, wheel.digest)
        if outcomes or not self._ledger.begin(key, self._clock(), size):
            return  # it is here
        try:
            # The last byte comes when the whole file is right; the others need not be read.
            async for _ in artifact.blob.chunks(size - 1, size):
                pass
        finally:
            self._ledger.done(key, Outcome.MISS in outcomes)


def _watch() -> list[Outcome]:
    """The outcomes of the work that this task does from now on."""
    outcomes: list[Outcome] = []
    _outcome.set(outcomes)
    return outcomes


def _listed(page: ProjectPage, filename: str) -> File | None:
    return next((file for file in page.files if file.filename == filename), None)
