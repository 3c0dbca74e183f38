"""Recent events, and the projects with most requests; without clients and addresses.

Each process keeps its own, and writes it into a record of the cache; pages show all of them.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable

import msgspec

from proxy.events import (
    AnswerServed,
    Event,
    FileChanged,
    FileRefused,
    RequestKind,
    UpstreamFailed,
)
from proxy.runtime import end_tasks
from proxy.storage import Key, RecordKind, Records

log = logging.getLogger(__name__)

KEPT = 200
"""Happenings of a process."""
WRITE_EVERY = 30.0
"""Seconds."""
TROUBLE = 600.0
"""Seconds for which a failure of an upstream is worth a banner."""
DAYS = 30
MAX_PROJECTS = 2000
"""Projects that are counted on a day; of older days the first ``KEPT`` stay."""
DAY = 86400.0
KINDS = {
    "refused": "Refusals",
    "changed": "Changed files",
    "failed": "Upstream failures",
    "fetched": "Yanked or vulnerable, yet fetched",
}


class Happening(msgspec.Struct, frozen=True, array_like=True):
    at: float
    """Unix time."""
    kind: str
    """Of ``KINDS``."""
    project: str
    text: str


class _Kept(msgspec.Struct, array_like=True):
    happenings: list[Happening] = []
    popular: dict[int, dict[str, int]] = {}
    """By day: how many files of a project were sent."""


class Recent:
    """An observer."""

    def __init__(
        self,
        records: Records,
        server: str,
        worker: int,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._records = records
        self._server = server
        self._key = Key(RecordKind.ACTIVITY, server, f"recent-{worker}")
        self._clock = clock
        self._happenings: deque[Happening] = deque(maxlen=KEPT)
        self._popular: dict[int, Counter[str]] = {}
        self._changed = False
        self._task: asyncio.Task[None] | None = None

    def observe(self, event: Event) -> None:
        match event:
            case AnswerServed() if event.kind is RequestKind.FILE and event.project:
                if event.status in (200, 206, 304):
                    self._count(event.project, len(event.timings))
            case FileRefused() if event.mode == "enforce":
                what = event.filename or "the project"
                self.note("refused", event.project or "", f"{event.rule}: {what}: {event.reason}")
            case FileRefused():
                text = f"{event.filename} was sent, though {event.rule} would refuse it"
                self.note("fetched", event.project or "", f"{text}: {event.reason}")
            case FileChanged():
                text = f"{event.filename} has other bytes in {event.index}; {event.outcome}"
                self.note("changed", event.project, text)
            case UpstreamFailed():
                self.note("failed", "", f"{event.index}: {event.what}: {event.reason}")

    def note(self, kind: str, project: str, text: str) -> None:
        words = text[:500].encode("utf-8", "replace").decode()
        self._happenings.append(Happening(self._clock(), kind, project, words))
        self._changed = True

    def trouble(self) -> Happening | None:
        """The last failure of an upstream that this process saw, if it is not long ago."""
        for each in reversed(self._happenings):
            if each.kind == "failed":
                return each if self._clock() - each.at < TROUBLE else None
        return None

    async def start(self) -> None:
        kept = _decoded(await self._records.get(self._key))
        self._happenings.extendleft(reversed(kept.happenings[-KEPT:]))
        for day, counts in kept.popular.items():
            self._popular.setdefault(day, Counter()).update(counts)
        self._task = asyncio.create_task(self._tend())

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)
            await self._write()

    async def all(self) -> tuple[list[Happening], dict[int, Counter[str]]]:
        """Of all processes: what has happened, the last first, and files by day and project."""
        found = list(self._happenings)
        popular = {day: Counter(counts) for day, counts in self._popular.items()}
        for key in await self._records.keys(RecordKind.ACTIVITY, self._server):
            if key != self._key and "/recent-" in key:
                kept = _decoded(await self._records.get(key))
                found += kept.happenings
                for day, counts in kept.popular.items():
                    popular.setdefault(day, Counter()).update(counts)
        return sorted(found, key=lambda each: -each.at), popular

    def _count(self, project: str, number: int) -> None:
        counts = self._popular.setdefault(int(self._clock() // DAY), Counter())
        if project in counts or len(counts) < MAX_PROJECTS:
            counts[project] += number
        self._changed = True

    async def _tend(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY)
            if self._changed:
                await self._write()

    async def _write(self) -> None:
        self._changed = False
        today = int(self._clock() // DAY)
        for day in [each for each in self._popular if not today - DAYS < each <= today]:
            del self._popular[day]
        popular = {day: dict(counts.most_common(KEPT)) for day, counts in self._popular.items()}
        kept = _Kept(list(self._happenings), popular)
        await self._records.put(self._key, msgspec.msgpack.encode(kept))


def most_asked(popular: dict[int, Counter[str]], days: int, now: float) -> list[tuple[str, int]]:
    """Projects with the number of their files that were sent in the last days."""
    today, total = int(now // DAY), Counter[str]()
    for day, counts in popular.items():
        if today - days < day <= today:
            total.update(counts)
    return total.most_common()


def of_kind(happenings: Iterable[Happening], kind: str, limit: int) -> list[Happening]:
    return [each for each in happenings if each.kind == kind][:limit]


def _decoded(data: bytes | None) -> _Kept:
    if data is None:
        return _Kept()
    try:
        return msgspec.msgpack.decode(data, type=_Kept)
    except (msgspec.DecodeError, msgspec.ValidationError):
        log.warning("the record of the activity page is damaged; a new one is started")
        return _Kept()
