"""``/-/activity``, and the figures of the start page: is it well, and does it help?"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import NamedTuple

from aiohttp import web

from proxy.access import Scope
from proxy.face.past_figures import RANGES, CountedInterval, History, Range, by_columns
from proxy.face.recent import KINDS, Recent, most_asked, of_kind
from proxy.face.shell import Place, Shell, sees_all
from proxy.presentation import Series, moment, plot, sparkline
from proxy.runtime import end_tasks, size_text
from proxy.web import Figures, require

COLUMNS = 60
"""Points of a plot."""
SPARK_COLUMNS = 48
LISTED = 15
SIZE_EVERY = 600.0
"""Seconds for which the size of the cache is not counted again."""


class Plot(NamedTuple):
    title: str
    unit: str
    svg: str
    series: Sequence[Series]
    rows: Sequence[tuple[str, Sequence[float | None]]]
    """The table of the plot: a time, and a value of each series."""


class FigureCard(NamedTuple):
    title: str
    value: str
    note: str
    svg: str | None = None


class Part(NamedTuple):
    """A plot, and what its series are made of."""

    title: str
    unit: str
    series: Sequence[tuple[str, Callable[[Figures], float]]]
    stacked: bool = False


PARTS = (
    Part(
        "Answers to installers",
        "a second",
        (
            ("from here", lambda each: each.here),
            ("from upstream", lambda each: each.fetched),
            ("refused", lambda each: each.refused),
            ("failed", lambda each: each.failed),
            ("other", lambda each: each.other),
        ),
        stacked=True,
    ),
    Part(
        "Bytes",
        "bytes a second",
        (("sent", lambda each: each.sent), ("from the cache", lambda each: each.saved)),
    ),
    Part(
        "Requests to upstream",
        "a second",
        (
            ("answered", lambda each: each.upstream_ok),
            ("failed", lambda each: each.upstream_failed),
        ),
        stacked=True,
    ),
    Part(
        "Slow answers, over a second",
        "a second",
        (("slow", lambda each: each.slow),),
    ),
    Part("Evicted from the cache", "bytes a second", (("evicted", lambda e: e.evicted_bytes),)),
    Part(
        "Fetched ahead of installers",
        "a second",
        (
            ("fetched", lambda each: each.prefetched),
            ("used", lambda each: each.used),
            ("wasted", lambda each: each.wasted),
        ),
    ),
)


class ActivityPages:
    def __init__(
        self,
        shell: Shell,
        history: History,
        recent: Recent,
        cache_size: Callable[[], Awaitable[int]],
        limit: int | None,
    ) -> None:
        """As ``cache_size`` and ``cache_limit`` of ``Surroundings``."""
        self._shell = shell
        self._history = history
        self._recent = recent
        self._count_size = cache_size
        self._limit = limit
        self._size: int | None = None
        self._counted = -SIZE_EVERY
        self._counting: asyncio.Task[None] | None = None

    async def page(self, place: Place) -> web.Response:
        require(place.request, Scope.METRICS)
        now = self._shell.around.clock()
        key = place.request.query.get("range", "")
        chosen = next((each for each in RANGES if each.key == key), RANGES[0])
        total, intervals = await self._history.totals(chosen)
        happenings, popular = await self._recent.all()
        first = next((at for at, each in enumerate(intervals) if each), len(intervals))
        return self._shell.page(
            place,
            "activity.html",
            private=True,
            section="activity",
            ranges=RANGES,
            chosen=chosen,
            cards=self.cards(total, intervals),
            plots=[_plot(part, chosen, intervals, now) for part in PARTS],
            since=now - (len(intervals) - first) * chosen.width if first < len(intervals) else None,
            lists=[(title, of_kind(happenings, kind, LISTED)) for kind, title in KINDS.items()]
            if sees_all(place)
            else [],
            popular=most_asked(popular, 1 if chosen.key != "30d" else 30, now)[:10]
            if sees_all(place)
            else [],
        )

    async def last_day(self) -> list[FigureCard]:
        """The figures of the start page."""
        return self.cards(*await self._history.totals(RANGES[1]))

    def cards(
        self, total: Figures, intervals: Sequence[CountedInterval | None]
    ) -> list[FigureCard]:
        answers = total.here + total.fetched
        share = f"{100 * total.here / answers:.0f} %" if answers else "–"
        mean = f", {1000 * total.seconds / total.timed:.1f} ms on average" if total.timed else ""
        return [
            FigureCard(
                "Answered from here",
                share,
                f"{answers:,.0f} answers{mean}" if answers else "no answers so far",
                _spark("Share of answers from here", intervals, _share),
            ),
            FigureCard(
                "Sent to installers",
                size_text(total.sent),
                f"{size_text(total.saved)} of it from the cache",
                _spark("Bytes sent", intervals, lambda each: each.sent),
            ),
            FigureCard(
                "Upstream failures",
                f"{total.upstream_failed:,.0f}",
                f"of {total.upstream_ok + total.upstream_failed:,.0f} requests",
                _spark("Upstream failures", intervals, lambda each: each.upstream_failed),
            ),
            self._cache_card(intervals),
        ]

    def _cache_card(self, intervals: Sequence[CountedInterval | None]) -> FigureCard:
        self._count_in_background()
        used = "…" if self._size is None else size_text(self._size)
        limit = f"of {size_text(self._limit)}" if self._limit else "no limit"
        limit = f"being counted, {limit}" if self._size is None else limit
        return FigureCard(
            "Cache",
            used,
            limit,
            _spark("Bytes evicted", intervals, lambda each: each.evicted_bytes),
        )

    def _count_in_background(self) -> None:
        if time.monotonic() - self._counted > SIZE_EVERY:
            self._counted = time.monotonic()
            self._counting = asyncio.create_task(self._count())

    async def _count(self) -> None:
        self._size = await self._count_size()

    async def close(self) -> None:
        if self._counting:
            await end_tasks(self._counting)


def _share(figures: Figures) -> float:
    answers = figures.here + figures.fetched
    return figures.here / answers if answers else 0.0


def _spark(
    title: str, intervals: Sequence[CountedInterval | None], value: Callable[[Figures], float]
) -> str:
    return sparkline(title, by_columns(intervals, value, SPARK_COLUMNS, per_second=False))


def _plot(
    part: Part, chosen: Range, intervals: Sequence[CountedInterval | None], now: float
) -> Plot:
    series = [
        Series(label, by_columns(intervals, value, COLUMNS, per_second=True))
        for label, value in part.series
    ]
    span = chosen.width * chosen.length
    labels = [_label(now - span * (1 - part), span) for part in (0.0, 0.25, 0.5, 0.75, 1.0)]
    sentence = f"{part.title}, {part.unit}, over {chosen.label}"
    step = span / max(1, len(series[0].values))
    rows = [
        (moment(now - span + (at + 1) * step), [each.values[at] for each in series])
        for at in range(len(series[0].values))
        if any(each.values[at] is not None for each in series)
    ]
    return Plot(
        part.title,
        part.unit,
        plot(sentence, series, labels, stacked=part.stacked),
        series,
        list(reversed(rows)),
    )


def _label(unix: float, span: float) -> str:
    text = moment(unix)
    return text[5:10] if span > 2 * 86400 else text[11:16]
