"""Figures over time: rings of intervals that survive a restart, in a record of the cache.

What was not counted is missing, and shown as a gap: after a restart, or a clock that was set back.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import msgspec

from proxy.runtime import end_tasks
from proxy.storage import Key, RecordKind, Records
from proxy.web import Counters, Figures, figures_of

log = logging.getLogger(__name__)

EVERY = 10.0
"""Seconds between two samples."""
WRITE_EVERY = 300.0
"""Seconds between two writes of the record; where other processes read it, ``SHARE_EVERY``."""
SHARE_EVERY = 30.0
MAX_RECORD = 2**20
"""Bytes; a larger record is not ours."""


class Range(msgspec.Struct, frozen=True):
    """A span of time that can be shown."""

    key: str
    label: str
    width: float
    """Seconds of an interval."""
    length: int
    """Intervals."""


RANGES = (
    Range("1h", "1 hour", EVERY, 360),
    Range("24h", "24 hours", 300.0, 288),
    Range("30d", "30 days", 3600.0, 720),
)


class CountedInterval(msgspec.Struct, array_like=True):
    figures: Figures
    seconds: float
    """That were counted."""


Rings = dict[str, dict[int, CountedInterval]]
"""By range: intervals by their number, which is Unix time divided by the width."""


class History:
    """One process of a server samples and writes; the others read what was written."""

    def __init__(
        self,
        counters: Counters,
        records: Records,
        server: str,
        *,
        samples: bool,
        shared: bool,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``server``: distinguishes servers on one cache. ``shared``: several processes."""
        self._counters = counters
        self._records = records
        self._key = Key(RecordKind.ACTIVITY, server, "history")
        self._samples = samples
        self._write_every = SHARE_EVERY if shared else WRITE_EVERY
        self._clock = clock
        self._rings: Rings = {each.key: {} for each in RANGES}
        self._read = -EVERY
        self._task: asyncio.Task[None] | None = None
        self.since = clock()
        """When this process began to count, in Unix time."""

    async def start(self) -> None:
        await self._load()
        if self._samples:
            self._task = asyncio.create_task(self._tend())

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)
        if self._samples:
            await self._write()

    async def totals(self, range_: Range) -> tuple[Figures, list[CountedInterval | None]]:
        """The sum of the range, and its intervals, oldest first; None: not counted."""
        if not self._samples and time.monotonic() - self._read > EVERY:
            await self._load()
        ring, last = self._rings[range_.key], int(self._clock() // range_.width)
        found = [ring.get(last - range_.length + 1 + at) for at in range(range_.length)]
        total = Figures()
        for each in found:
            if each:
                total = total.plus(each.figures)
        return total, found

    async def _tend(self) -> None:
        before, at, written = figures_of(self._counters), time.monotonic(), time.monotonic()
        while True:
            await asyncio.sleep(EVERY)
            figures, now = figures_of(self._counters), time.monotonic()
            if added := figures.since(before):
                self.add(CountedInterval(added, now - at), self._clock())
            before, at = figures, now
            if now - written > self._write_every:
                written = now
                await self._write()

    def add(self, interval: CountedInterval, now: float) -> None:
        """Count an interval that ended at that Unix time."""
        for each in RANGES:
            ring, number = self._rings[each.key], int(now // each.width)
            former = ring.get(number) or CountedInterval(Figures(), 0.0)
            ring[number] = CountedInterval(
                former.figures.plus(interval.figures),
                min(former.seconds + interval.seconds, each.width + EVERY),
            )
            for old in [key for key in ring if not number - each.length < key <= number]:
                del ring[old]

    async def _write(self) -> None:
        await self._records.put(self._key, msgspec.msgpack.encode(self._rings))

    async def _load(self) -> None:
        self._read = time.monotonic()
        data = await self._records.get(self._key)
        if data is None:
            return
        with suppress(msgspec.DecodeError, msgspec.ValidationError):
            if len(data) <= MAX_RECORD:
                rings = msgspec.msgpack.decode(data, type=Rings)
                self._rings = {each.key: rings.get(each.key, {}) for each in RANGES}
                return
        log.warning("the history of the activity page is damaged or of another version; it is new")


def by_columns(
    intervals: Sequence[CountedInterval | None],
    value: Callable[[Figures], float],
    columns: int,
    *,
    per_second: bool,
) -> list[float | None]:
    """Values for a plot: intervals joined to so many columns, as sums or as rates."""
    joined: list[float | None] = []
    size = max(1, len(intervals) // columns)
    for at in range(0, len(intervals), size):
        counted = [each for each in intervals[at : at + size] if each]
        seconds = sum(each.seconds for each in counted)
        total = sum(value(each.figures) for each in counted)
        if not counted or (per_second and seconds <= 0):
            joined.append(None)
        else:
            joined.append(total / seconds if per_second else total)
    return joined
