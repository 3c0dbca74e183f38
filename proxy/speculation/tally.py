"""What guesses were worth: which things that they fetched were asked for, and which never."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from proxy.events import Fate, Guessed, Observer

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
