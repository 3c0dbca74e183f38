"""Fetches what may be asked for, through the index that is served, and keeps count of it.

So names that must not go upstream do not, and a client that comes meanwhile joins.

What guesses were worth: which things that they fetched were asked for, and which never.

What clients have just asked of the other processes of the same server.

One process fetches ahead what a client may ask of another: without knowing of it, that would be
taken for waste, and for bytes that still wait to be asked for.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextvars import ContextVar
from zlib import crc32

import msgspec

from proxy.events import Event, Fate, FileAnswered, Guessed, Observer, Outcome, PageAnswered
from proxy.indexes import Index
from proxy.model import METADATA, File, ProjectName, ProjectPage
from proxy.runtime import SharedCounters

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


PrefetchKey = tuple[str, str]
"""Project and filename; the filename is empty for the page."""

WASTED_AFTER = 600.0
"""Seconds after which a thing that nobody asked for was fetched in vain."""
MAX_TRACKED = 20_000
"""Things that are waited for."""


class PrefetchStats(msgspec.Struct, frozen=True):
    """Since the server started. Sizes in bytes, of files; pages count without their bytes."""

    fetched: int = 0
    hits: int = 0
    hit_bytes: int = 0
    wasted: int = 0
    wasted_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.fetched} fetched ahead, {self.hits} of them asked for ({self.hit_bytes} bytes),"
            f" {self.wasted} in vain ({self.wasted_bytes} bytes)"
        )


class _TallyEntry(msgspec.Struct):
    since: float
    size: int
    fetched: bool = False
    asked: bool = False


class PrefetchTally:
    """Counts a thing once it is known both that a guess fetched it and what became of it."""

    def __init__(self, events: Observer = lambda event: None) -> None:
        """``events`` gets the ``Guessed``."""
        self._events = events
        self.counts = PrefetchStats()
        self.ahead = 0
        """Bytes that are being fetched, or were, and that nobody has asked for yet."""
        self._entries: dict[PrefetchKey, _TallyEntry] = {}

    def begin(self, key: PrefetchKey, now: float, size: int = 0) -> bool:
        """A guess is about to fetch it; False if one did before."""
        if key in self._entries or len(self._entries) >= MAX_TRACKED:
            return False
        self._entries[key] = _TallyEntry(now, size)
        self.ahead += size
        return True

    def done(self, key: PrefetchKey, fetched: bool, size: int | None = None) -> None:
        """The guess has ended; ``fetched``: from upstream, and by no one else."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if not fetched:
            self._drop(key)
            return
        self.ahead += 0 if entry.asked or size is None else size - entry.size
        entry.size = entry.size if size is None else size
        entry.fetched = True
        self._count(fetched=1)
        self._events(Guessed(Fate.FETCHED, entry.size))
        self._settle(key)

    def asked(self, key: PrefetchKey) -> bool:
        """A client got it; whether a guess had to do with that."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        if not entry.asked:
            entry.asked = True
            self.ahead -= entry.size
        self._settle(key)
        return True

    def sweep(
        self, now: float, elsewhere: Callable[[PrefetchKey, float], bool] = lambda key, since: False
    ) -> None:
        """Give up on what nobody asked for; ``elsewhere``: not even there, since that time."""
        waiting = [(key, each.since) for key, each in self._entries.items() if not each.asked]
        for key, since in waiting:
            if elsewhere(key, since):
                self.asked(key)
        late = [key for key, entry in self._entries.items() if now - entry.since > WASTED_AFTER]
        for key in late:
            entry = self._entries[key]
            if entry.fetched:
                self._count(wasted=1, wasted_bytes=entry.size)
                self._events(Guessed(Fate.WASTED, entry.size))
                self._drop(key)

    def _settle(self, key: PrefetchKey) -> None:
        entry = self._entries[key]
        if entry.fetched and entry.asked:
            self._count(hits=1, hit_bytes=entry.size)
            self._events(Guessed(Fate.USED, entry.size))
            self._drop(key)

    def _drop(self, key: PrefetchKey) -> None:
        entry = self._entries.pop(key)
        self.ahead -= 0 if entry.asked else entry.size

    def _count(self, **more: int) -> None:
        now = {name: getattr(self.counts, name) + number for name, number in more.items()}
        self.counts = msgspec.structs.replace(self.counts, **now)


MARK_COLUMNS = 8192
"""Of the board. What is asked of a process within a few seconds has to fit in easily."""
_LOW = 2**32 - 1


class WorkerMarks:
    """Each process marks what it is asked for: a checksum of the key, and the time.

    A mark lies where its checksum says, and stays until another one falls on the same place.
    """

    def __init__(self, board: SharedCounters) -> None:
        """``board``: of ``MARK_COLUMNS`` columns."""
        self._board = board

    def note(self, key: PrefetchKey, now: float) -> None:
        """A client has asked this process for it."""
        mark = _checksum(key)
        self._board.mine[mark % MARK_COLUMNS] = mark << 32 | int(now) & _LOW

    def asked(self, key: PrefetchKey, since: float) -> bool:
        """Whether a client has asked another process for it since then, as far as is known."""
        mark = _checksum(key)
        seen = (row[mark % MARK_COLUMNS] for row in self._board.others)
        return any(each >> 32 == mark and each & _LOW >= int(since) for each in seen)


def _checksum(key: PrefetchKey) -> int:
    """The same in every process, as a hash is not; two keys are hardly ever taken for one."""
    return crc32("/".join(key).encode())
