"""Fetches what may be asked for, through the index that is served, and keeps count of it.

So names that must not go upstream do not, and a client that comes meanwhile joins.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar

from proxy.events import Event, FileAnswered, Observer, Outcome, PageAnswered
from proxy.indexes.base import Index
from proxy.model import METADATA, File, ProjectName, ProjectPage
from proxy.speculation.siblings import WorkerMarks
from proxy.speculation.tally import PrefetchStats, PrefetchTally

MAX_WHEEL = 64 * 2**20
"""Bytes of a wheel that is fetched ahead."""
MAX_AHEAD = 256 * 2**20
"""Bytes that may be there, or under way, without anybody having asked for them."""
MAX_PREFETCHED_METADATA = 2**20
"""Bytes of metadata that are looked at."""

_outcomes: ContextVar[list[Outcome]] = ContextVar("outcomes")


class Fetcher:
    """What guesses do. Raises what the index raises."""

    def __init__(
        self,
        index: Index,
        events: Observer,
        siblings: WorkerMarks,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``events`` gets the ``Guessed``; clients may also ask the ``siblings``."""
        self._index = index
        self._siblings = siblings
        self._clock = clock
        self._tally = PrefetchTally(events)

    @property
    def counts(self) -> PrefetchStats:
        return self._tally.counts

    def asked(self, project: ProjectName, filename: str = "") -> bool:
        """A client got the page, or the file; whether a guess had to do with that."""
        key = (project, filename)
        self._siblings.note(key, self._clock())
        return self._tally.asked(key)

    def observe(self, event: Event) -> None:
        """An observer: work done for a guess happens in its task."""
        if isinstance(event, PageAnswered | FileAnswered):
            outcomes = _outcomes.get(None)
            if outcomes is not None:
                outcomes.append(event.outcome)

    def sweep(self) -> None:
        """Give up on what nobody asked for."""
        self._tally.sweep(self._clock(), self._siblings.asked)

    async def page(self, project: ProjectName) -> ProjectPage:
        key = (project, "")
        begun = self._tally.begin(key, self._clock())
        outcomes = _watch()
        try:
            return await self._index.page(project)
        finally:
            if begun:
                self._tally.done(key, _from_upstream(outcomes))

    async def metadata(self, project: ProjectName, wheel: File) -> bytes:
        """The wheel's ``.metadata``, or the beginning of an enormous one."""
        key = (project, wheel.filename + METADATA)
        begun = self._tally.begin(key, self._clock())
        outcomes = _watch()
        data = b""
        try:
            artifact = await self._index.file(project, key[1], wheel.address_digest)
            async for piece in artifact.blob.chunks(0, MAX_PREFETCHED_METADATA):
                data += piece
        finally:
            if begun:
                self._tally.done(key, _from_upstream(outcomes), len(data))
        return data

    async def wheel(self, project: ProjectName, wheel: File) -> None:
        """Nothing happens if it is large, or of unknown size, or too much is there unasked."""
        key, size = (project, wheel.filename), wheel.size
        if not size or size > MAX_WHEEL or self._tally.ahead + size > MAX_AHEAD:
            return
        outcomes = _watch()
        artifact = await self._index.file(project, wheel.filename, wheel.address_digest)
        if outcomes or not self._tally.begin(key, self._clock(), size):
            return  # it is here
        try:
            # The last byte comes when the whole file is right; the others need not be read.
            async for _ in artifact.blob.chunks(size - 1, size):
                pass
        finally:
            self._tally.done(key, _from_upstream(outcomes))


def _watch() -> list[Outcome]:
    """The outcomes of the work that this task does from now on."""
    outcomes: list[Outcome] = []
    _outcomes.set(outcomes)
    return outcomes


def _from_upstream(outcomes: list[Outcome]) -> bool:
    """Whether this, and nobody before, asked upstream."""
    return Outcome.MISS in outcomes or Outcome.REVALIDATED in outcomes
