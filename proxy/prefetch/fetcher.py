"""Fetches guesses through the index that is served, and counts which of them clients used.

Through the index, private names never go upstream, and a client that comes meanwhile joins. One
worker process may prefetch what a client then requests from another one: shared marks let it
count that as used.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from zlib import crc32

import msgspec

from proxy.events import Observer, Outcome, Prefetched, PrefetchResult, record_outcomes
from proxy.indexes import Index
from proxy.model import METADATA, File, ProjectName, ProjectPage
from proxy.runtime import SharedCounters

MAX_WHEEL = 64 * 2**20
"""Bytes of the largest wheel that is prefetched."""
MAX_AHEAD = 256 * 2**20
"""Bytes that may be prefetched, or being prefetched, without a client having requested them."""
MAX_PREFETCHED_METADATA = 2**20
"""Bytes of metadata that are read."""


class Fetcher:
    """Fetches one guess at a time. Raises what the index raises."""

    def __init__(
        self,
        index: Index,
        tally: PrefetchTally,
        marks: WorkerMarks,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``tally`` is that of all indexes; ``marks`` are shared with other worker processes."""
        self._index = index
        self._marks = marks
        self._clock = clock
        self._tally = tally

    def requested(self, project: ProjectName, filename: str = "") -> bool:
        """A client got the page, or the file; whether it was being prefetched or had been."""
        key = (self._index.name, project, filename)
        self._marks.note(key, self._clock())
        return self._tally.requested(key)

    async def page(self, project: ProjectName) -> ProjectPage:
        key = (self._index.name, project, "")
        begun = self._tally.begin(key, self._clock())
        outcomes = record_outcomes()
        try:
            return await self._index.page(project)
        finally:
            if begun:
                self._tally.done(key, _from_upstream(outcomes))

    async def metadata(self, project: ProjectName, wheel: File) -> bytes:
        """The wheel's ``.metadata``; of a very large one only the beginning."""
        key = (self._index.name, project, wheel.filename + METADATA)
        begun = self._tally.begin(key, self._clock())
        outcomes = record_outcomes()
        data = b""
        try:
            artifact = await self._index.file(project, key[2], wheel.address_digest)
            async for piece in artifact.blob.chunks(0, MAX_PREFETCHED_METADATA):
                data += piece
        finally:
            if begun:
                self._tally.done(key, _from_upstream(outcomes), len(data))
        return data

    async def wheel(self, project: ProjectName, wheel: File) -> None:
        """Fetch it, unless it is large or of unknown size, or ``MAX_AHEAD`` would be exceeded."""
        key, size = (self._index.name, project, wheel.filename), wheel.size
        if not size or size > MAX_WHEEL or self._tally.ahead + size > MAX_AHEAD:
            return
        outcomes = record_outcomes()
        artifact = await self._index.file(project, wheel.filename, wheel.address_digest)
        if outcomes or not self._tally.begin(key, self._clock(), size):
            return  # it is in the cache
        try:
            # The last byte comes once the whole file is verified; the others need not be read.
            async for _ in artifact.blob.chunks(size - 1, size):
                pass
        finally:
            self._tally.done(key, _from_upstream(outcomes))


def _from_upstream(outcomes: list[Outcome]) -> bool:
    """Whether this fetch, and no earlier one, asked upstream."""
    return Outcome.MISS in outcomes or Outcome.REVALIDATED in outcomes


PrefetchKey = tuple[str, str, str]
"""Index, project and filename; the filename is empty for the page."""

WASTED_AFTER = 600.0
"""Seconds after which a prefetched page or file that no client requested counts as wasted."""
MAX_TRACKED = 20_000
"""Pages and files whose use is tracked at one time."""


class PrefetchStats(msgspec.Struct, frozen=True):
    """Since the server started. Sizes in bytes, of files; pages count without their bytes."""

    fetched: int = 0
    hits: int = 0
    hit_bytes: int = 0
    wasted: int = 0
    wasted_bytes: int = 0

    def __str__(self) -> str:
        return (
            f"{self.fetched} prefetched, {self.hits} of them used ({self.hit_bytes} bytes),"
            f" {self.wasted} wasted ({self.wasted_bytes} bytes)"
        )


class _TallyEntry(msgspec.Struct):
    since: float
    size: int
    fetched: bool = False
    requested: bool = False


class PrefetchTally:
    """Counts a page or file once its prefetch has ended and its use is known."""

    def __init__(self, events: Observer = lambda event: None) -> None:
        """``events`` gets ``Prefetched``."""
        self._events = events
        self.stats = PrefetchStats()
        self.ahead = 0
        """Bytes that are being prefetched, or were, and that no client has requested yet."""
        self._entries: dict[PrefetchKey, _TallyEntry] = {}

    def begin(self, key: PrefetchKey, now: float, size: int = 0) -> bool:
        """A guess is about to fetch it; False if another guess did before."""
        if key in self._entries or len(self._entries) >= MAX_TRACKED:
            return False
        self._entries[key] = _TallyEntry(now, size)
        self.ahead += size
        return True

    def done(self, key: PrefetchKey, fetched: bool, size: int | None = None) -> None:
        """The guess has ended; ``fetched``: from upstream, and by no other request."""
        entry = self._entries.get(key)
        if entry is None:
            return
        if not fetched:
            self._drop(key)
            return
        self.ahead += 0 if entry.requested or size is None else size - entry.size
        entry.size = entry.size if size is None else size
        entry.fetched = True
        self._count(fetched=1)
        self._events(Prefetched(PrefetchResult.FETCHED, entry.size))
        self._count_use(key)

    def requested(self, key: PrefetchKey) -> bool:
        """A client got it; whether it was being prefetched or had been."""
        entry = self._entries.get(key)
        if entry is None:
            return False
        if not entry.requested:
            entry.requested = True
            self.ahead -= entry.size
        self._count_use(key)
        return True

    def sweep(
        self, now: float, elsewhere: Callable[[PrefetchKey, float], bool] = lambda key, since: False
    ) -> None:
        """Give up what no client requested; ``elsewhere``: whether one did of another process."""
        waiting = [(key, each.since) for key, each in self._entries.items() if not each.requested]
        for key, since in waiting:
            if elsewhere(key, since):
                self.requested(key)
        late = [key for key, entry in self._entries.items() if now - entry.since > WASTED_AFTER]
        for key in late:
            entry = self._entries[key]
            if entry.fetched:
                self._count(wasted=1, wasted_bytes=entry.size)
                self._events(Prefetched(PrefetchResult.WASTED, entry.size))
                self._drop(key)

    def _count_use(self, key: PrefetchKey) -> None:
        entry = self._entries[key]
        if entry.fetched and entry.requested:
            self._count(hits=1, hit_bytes=entry.size)
            self._events(Prefetched(PrefetchResult.USED, entry.size))
            self._drop(key)

    def _drop(self, key: PrefetchKey) -> None:
        entry = self._entries.pop(key)
        self.ahead -= 0 if entry.requested else entry.size

    def _count(self, **more: int) -> None:
        now = {name: getattr(self.stats, name) + number for name, number in more.items()}
        self.stats = msgspec.structs.replace(self.stats, **now)


MARK_COLUMNS = 8192
"""Columns of shared memory: several times the requests of a process within a few seconds."""
_LOW = 2**32 - 1


class WorkerMarks:
    """Each worker marks what clients request from it: a checksum of the key, and the time.

    The checksum selects the column; a mark stays until another one needs the same column.
    """

    def __init__(self, shared: SharedCounters) -> None:
        """``shared``: ``MARK_COLUMNS`` columns."""
        self._shared = shared

    def note(self, key: PrefetchKey, now: float) -> None:
        """A client has requested it from this process."""
        mark = _checksum(key)
        self._shared.own_row[mark % MARK_COLUMNS] = mark << 32 | int(now) & _LOW

    def requested(self, key: PrefetchKey, since: float) -> bool:
        """Whether a client has requested it from another process since then, as far as known."""
        mark = _checksum(key)
        seen = (row[mark % MARK_COLUMNS] for row in self._shared.other_rows)
        return any(each >> 32 == mark and each & _LOW >= int(since) for each in seen)


def _checksum(key: PrefetchKey) -> int:
    """The same in every process, unlike a hash; two keys rarely have the same."""
    return crc32("/".join(key).encode())
