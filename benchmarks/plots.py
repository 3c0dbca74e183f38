"""Results as pictures. The only module that knows matplotlib, which is an extra."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.measures import OURS, Curve, Row
from benchmarks.report import Result
from benchmarks.scenario import Scenario

GOOD, BAD, PLAIN = "#2a7f62", "#c1533b", "#8aa0b4"
SHADES = (GOOD, "#8cc3ad", "#35618f", "#a3bfdb")
PEERS = {
    "installing about 90 projects: seconds (less is better)": {
        "peer-uv-cold": "uv, cold",
        "peer-uv-warm": "uv, warm",
        "peer-pip-cold": "pip, cold",
        "peer-pip-warm": "pip, warm",
    },
    "warm, small: requests per second (more is better)": {
        "peer-page": "a page of 13 files",
        "peer-many": "a page of 300 files",
        "peer-metadata": "core metadata",
        "peer-file": "a wheel of 14 kB",
    },
}
ABREAST = 3
"""Curves in a row."""
INSTALLS = {
    "pip": {"pip-cold": "cold", "pip-second": "cold,\na similar set\nbefore", "pip-warm": "warm"},
    "uv": {
        "uv-slow-cold": "cold,\n100 Mbit/s\na stream",
        "uv-fast-cold": "cold",
        "uv-fast-warm": "warm",
        "uv-fast-expired": "all pages\nexpired",
    },
}


def draw(scenarios: Iterable[Scenario], results: dict[str, Result], folder: Path) -> list[Path]:
    """Draw and return the files. Raises ``ImportError`` without matplotlib."""
    import matplotlib as mpl  # type: ignore[import-not-found,unused-ignore]

    mpl.use("Agg")
    known = [each for each in scenarios if each.name in results]
    drawn = [_ratios(known, results, folder), _installs(results, folder)]
    drawn += [_curves(known, results, folder), _peers(known, results, folder)]
    return [path for path in drawn if path]


def _ratios(scenarios: Sequence[Scenario], results: dict[str, Result], folder: Path) -> Path | None:
    """The ratio of each result to its aim: 1 is on target, more is better."""
    shown = [
        (row, _score(row, results[each.name]))
        for each in scenarios
        for row in each.rows
        if row.bound and row.kind == "ratio" and row.result(_samples(row, results[each.name]))
    ]
    if not shown:
        return None
    figure, axes = _figure(10, 1.2 + 0.3 * len(shown))
    scores = [score for _, score in shown]
    colours = [GOOD if score >= 1 else BAD for score in scores]
    axes.barh([f"{row.work}  ({row.aim})" for row, _ in shown], scores, color=colours)
    axes.axvline(1, color="black", linewidth=1)
    axes.set_ylim(len(shown) - 0.4, -0.6)
    axes.set_xlabel("times better than the aim (1: just reached)")
    figure.suptitle("This server beside nginx, and beside no proxy: how far each aim is surpassed")
    return _saved(figure, folder / "ratios.png")


def _installs(results: dict[str, Result], folder: Path) -> Path | None:
    samples: dict[str, dict[str, list[float]]] = {}
    for each in results.values():
        samples |= each.samples
    if not all(samples.keys() >= names.keys() for names in INSTALLS.values()):
        return None
    figure, places = _figure(10, 4, columns=len(INSTALLS))
    for axes, (tool, names) in zip(places, INSTALLS.items(), strict=True):
        _bars(axes, names, samples)
        axes.set_title(tool)
    places[0].set_ylabel("seconds")
    places[-1].legend()
    figure.suptitle("Installing about 90 projects, upstream 50 ms away")
    return _saved(figure, folder / "installs.png")


def _bars(axes: Any, names: dict[str, str], samples: dict[str, dict[str, list[float]]]) -> None:
    for shift, others, colour in ((-0.2, True, PLAIN), (0.2, False, GOOD)):
        heights = [
            statistics.median(values)
            for key in names
            for contender, values in samples[key].items()
            if (contender != OURS) == others
        ]
        bars = axes.bar([place + shift for place in range(len(names))], heights, 0.4, color=colour)
        axes.bar_label(bars, fmt=lambda height: f"{height:.2f}" if height < 2 else f"{height:.1f}")
        axes.margins(y=0.12)
        bars.set_label("directly (uv, not cold: nginx)" if others else "this server")
    axes.set_xticks(range(len(names)), names.values())


def _curves(scenarios: Sequence[Scenario], results: dict[str, Result], folder: Path) -> Path | None:
    shown = [
        (curve, results[each.name].points[curve.key])
        for each in scenarios
        for curve in each.curves
        if curve.key in results[each.name].points
    ]
    if not shown:
        return None
    rows = -(-len(shown) // ABREAST)
    figure, axes = _figure(4 * ABREAST, 3.4 * rows, columns=ABREAST, rows=rows)
    for place, (curve, points) in zip(axes.flat, shown, strict=False):
        _curve(place, curve, points)
    figure.suptitle("Cost against work; dotted: in proportion, from the cheapest unit of work on")
    return _saved(figure, folder / "scaling.png")


def _curve(axes: Any, curve: Curve, points: dict[float, list[float]]) -> None:
    works = sorted(points)
    costs = [statistics.median(points[work]) for work in works]
    unit = min(cost / work for cost, work in zip(costs, works, strict=True))
    axes.loglog(works, [unit * work for work in works], linestyle=":", color=PLAIN)
    steepest = curve.steepest(points)
    colour = BAD if steepest is not None and steepest > curve.bound else GOOD
    axes.loglog(works, costs, marker="o", color=colour)
    for work, cost in zip(works, costs, strict=True):
        shown = f"{cost:,.0f}" if cost >= 100 else f"{cost:.2g}"
        axes.annotate(shown, (work, cost), (0, 7), textcoords="offset points", ha="center")
    axes.set_xticks(works, [f"{work:,.0f}" for work in works])
    axes.minorticks_off()
    axes.margins(0.12, 0.2)
    axes.set_xlabel(curve.work)
    axes.set_ylabel(curve.cost)
    axes.set_title(curve.title)


def _peers(scenarios: Sequence[Scenario], results: dict[str, Result], folder: Path) -> Path | None:
    found = next((each for each in scenarios if each.compared), None)
    if found is None:
        return None
    result, names = results[found.name], list(found.compared)
    figure, places = _figure(12, 6, columns=len(PEERS))
    for axes, (title, works) in zip(places, PEERS.items(), strict=True):
        _abreast(axes, works, names, result.samples)
        axes.set_title(title)
    shown = [f"{name}\n{result.versions.get(name, '')}".strip() for name in names]
    places[0].set_yticks(range(len(names)), shown)
    places[1].set_yticks([])
    figure.suptitle("Other servers, doing the same; upstream 50 ms away where it is asked")
    return _saved(figure, folder / "peers.png")


def _abreast(
    axes: Any, works: dict[str, str], names: list[str], samples: dict[str, dict[str, list[float]]]
) -> None:
    """A group of bars for each contender, one bar for each kind of work."""
    height = 0.8 / len(works)
    for number, (key, work) in enumerate(works.items()):
        measured = samples.get(key, {})
        can = [at for at, name in enumerate(names) if name in measured]
        values = [statistics.median(measured[names[at]]) for at in can]
        places = [at + (number - (len(works) - 1) / 2) * height for at in can]
        bars = axes.barh(places, values, height * 0.9, color=SHADES[number], label=work)
        shown = [f"{each:,.3g}" if each < 100 else f"{each:,.0f}" for each in values]
        axes.bar_label(bars, shown, padding=3)
    axes.set_xscale("log")
    axes.margins(x=0.2)
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.06), ncols=2, frameon=False)


def _samples(row: Row, result: Result) -> dict[str, list[float]]:
    return result.samples.get(row.key, {})


def _score(row: Row, result: Result) -> float:
    measured = row.result(_samples(row, result))
    assert measured and row.bound
    return row.bound / measured if row.most else measured / row.bound


def _figure(width: float, height: float, columns: int = 1, rows: int = 1) -> Any:
    from matplotlib import pyplot

    return pyplot.subplots(rows, columns, figsize=(width, height), layout="constrained")


def _saved(figure: Any, path: Path) -> Path:
    from matplotlib import pyplot

    figure.savefig(path, dpi=110)
    pyplot.close(figure)
    return path
