"""Plots as SVG, made here: geometry is in attributes and colour in classes, as a strict CSP asks.

A gap in the values is a gap in the line: what was not counted is not zero.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from markupsafe import Markup

WIDTH, HEIGHT = 560, 120
"""Of the area in which values are drawn, in user units."""
LEFT, BOTTOM, TOP = 52, 20, 8
MAX_SERIES = 5


class Series(NamedTuple):
    label: str
    values: Sequence[float | None]
    """Oldest first; None: not counted."""


def plot(title: str, series: Sequence[Series], labels: Sequence[str], *, stacked: bool) -> Markup:
    """Lines, or areas on each other. ``title`` describes the plot to people who do not see it.

    ``labels`` are below, from left to right.
    """
    from markupsafe import Markup

    drawn = series[:MAX_SERIES]
    top = _nice(max(_heights(drawn, stacked=stacked), default=0.0))
    parts = [_grid(top), _below(labels)]
    floor: list[float] = [0.0] * max((len(each.values) for each in drawn), default=0)
    for number, each in enumerate(drawn, 1):
        values = list(each.values)
        if stacked:
            upper = [
                None if value is None else base + value
                for base, value in zip(floor, values, strict=False)
            ]
            parts.append(_path(number, "area", _areas(floor, upper, top)))
            floor = [
                base if value is None else value for base, value in zip(floor, upper, strict=False)
            ]
        else:
            parts.append(_path(number, "series", _lines(values, top)))
    box = f"0 0 {LEFT + WIDTH} {TOP + HEIGHT + BOTTOM}"
    return Markup('<svg class="plot" role="img" aria-label="{}" viewBox="{}">{}</svg>').format(
        title, box, Markup().join(parts)
    )


def sparkline(title: str, values: Sequence[float | None]) -> Markup:
    """A small line of 120 by 24 units."""
    from markupsafe import Markup

    top = _nice(max((value for value in values if value is not None), default=0.0))
    points = " ".join(_runs(values, 120, 22, 0, 1, top))
    return Markup(
        '<svg class="spark" role="img" aria-label="{}" viewBox="0 0 120 24"'
        ' preserveAspectRatio="none"><path d="{}"/></svg>'
    ).format(title, points)


def _path(number: int, kind: str, points: str) -> Markup:
    from markupsafe import Markup

    return Markup('<path class="{} p{}" d="{}"/>').format(kind, number, points)


def _grid(top: float) -> Markup:
    """Three lines with their values."""
    from markupsafe import Markup

    pieces = Markup()
    for part in (0.0, 0.5, 1.0):
        y = TOP + HEIGHT * (1 - part)
        pieces += Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{:.1f}" y2="{:.1f}"/>'
            '<text x="{}" y="{:.1f}" text-anchor="end">{}</text>'
        ).format(LEFT, LEFT + WIDTH, y, y, LEFT - 6, y + 4, short(top * part))
    return pieces


def _below(labels: Sequence[str]) -> Markup:
    from markupsafe import Markup

    pieces, last = Markup(), max(len(labels) - 1, 1)
    for at, label in enumerate(labels):
        anchor = "start" if at == 0 else "end" if at == last else "middle"
        pieces += Markup('<text x="{:.0f}" y="{}" text-anchor="{}">{}</text>').format(
            LEFT + WIDTH * at / last, TOP + HEIGHT + 15, anchor, label
        )
    return pieces


def _heights(series: Sequence[Series], *, stacked: bool) -> Iterator[float]:
    if not stacked:
        yield from (value for each in series for value in each.values if value is not None)
        return
    for column in zip(*(each.values for each in series), strict=False):
        yield sum(value for value in column if value is not None)


def _lines(values: Sequence[float | None], top: float) -> str:
    return " ".join(_runs(values, WIDTH, HEIGHT, LEFT, TOP, top))


def _runs(
    values: Sequence[float | None],
    width: float,
    height: float,
    left: float,
    down: float,
    top: float,
) -> Iterator[str]:
    """A path for each run of counted values; a single value is a short stroke."""
    pen_up = True
    step = width / max(len(values) - 1, 1)
    for at, value in enumerate(values):
        if value is None:
            pen_up = True
            continue
        x, y = left + at * step, down + height * (1 - value / top)
        yield f"{'M' if pen_up else 'L'}{x:.1f} {y:.1f}" + ("h1" if pen_up else "")
        pen_up = False


def _areas(floor: Sequence[float], upper: Sequence[float | None], top: float) -> str:
    step = WIDTH / max(len(upper) - 1, 1)
    pieces: list[str] = []
    run: list[tuple[float, float, float]] = []
    for at, value in enumerate([*upper, None]):
        if value is not None:
            x, low, high = LEFT + at * step, floor[at], value
            run.append((x, _y(low, top), _y(high, top)))
        elif run:
            if len(run) == 1:
                x, low, high = run[0]
                run.append((x + max(step / 2, 1), low, high))
            there = "L".join(f"{x:.1f} {high:.1f}" for x, _, high in run)
            back = "L".join(f"{x:.1f} {low:.1f}" for x, low, _ in reversed(run))
            pieces.append(f"M{there}L{back}z")
            run = []
    return " ".join(pieces)


def _y(value: float, top: float) -> float:
    return TOP + HEIGHT * (1 - value / top)


def _nice(value: float) -> float:
    """The next larger of 1, 2, 5, 10, 20 …; 1 for no value, so that nothing is divided by 0."""
    if value <= 0:
        return 1.0
    size = 10.0 ** len(str(int(value)))
    return next(size * part for part in (0.1, 0.2, 0.5, 1.0) if value <= size * part)


def short(value: float) -> str:
    """``1.5k``, ``20M``: a value in little room."""
    for unit in ("", "k", "M", "G", "T"):
        if value < 1000:
            whole = value >= 10 or value == int(value)
            return f"{value:.0f}{unit}" if whole else f"{value:.1f}{unit}"
        value /= 1000
    return f"{value:.0f}P"
