"""Results as JSON and as tables, on the terminal and in the README. No measuring."""

from __future__ import annotations

import dataclasses
import datetime
import json
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.measures import OURS, Curve, Row
from benchmarks.scenario import Context, Scenario

BEGIN, END = "<!-- results -->", "<!-- end of results -->"
HEAD = ("work", "aim", "measured", "ours: median (least - most)", "beside", "verdict")


@dataclass(slots=True)
class Result:
    """The measurements of one scenario."""

    scenario: str
    date: str
    machine: str
    rounds: int
    judged: bool
    samples: dict[str, dict[str, list[float]]] = field(default_factory=dict)
    points: dict[str, dict[float, list[float]]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    """Of contenders that were installed for it."""


def result_of(scenario: Scenario, context: Context, judged: bool) -> Result:
    rows = {row.key for row in scenario.rows}
    curves = {curve.key for curve in scenario.curves}
    return Result(
        scenario.name,
        datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine(),
        context.done,
        judged,
        {key: value for key, value in context.samples.items() if key in rows},
        {key: value for key, value in context.points.items() if key in curves},
        {name: version for name, version in context.versions.items() if name in scenario.compared},
    )


def machine() -> str:
    """In general words."""
    cores = os.cpu_count()
    nginx = subprocess.run(["nginx", "-v"], capture_output=True, text=True, check=False).stderr
    version = nginx.strip().rpartition("/")[2]
    python = ".".join(platform.python_version_tuple()[:2])
    return f"{cores} shared cores, {platform.system()}, Python {python}, nginx {version}"


def save(result: Result, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    text = json.dumps(dataclasses.asdict(result), indent=1)
    (folder / f"{result.scenario}.json").write_text(text + "\n")


def load(folder: Path, scenarios: Iterable[Scenario]) -> dict[str, Result]:
    """The last results of every scenario that has some."""
    found = {}
    for scenario in scenarios:
        file = folder / f"{scenario.name}.json"
        if file.exists():
            result = Result(**json.loads(file.read_text()))
            for key, points in result.points.items():
                result.points[key] = {float(work): cost for work, cost in points.items()}
            found[scenario.name] = result
    return found


def tables(scenarios: Iterable[Scenario], results: dict[str, Result]) -> str:
    """In Markdown that can be read as it stands."""
    parts = []
    for scenario in scenarios:
        if (result := results.get(scenario.name)) is None:
            continue
        heading = f"**{scenario.name}**: {scenario.about} ({result.date}; rounds: {result.rounds})"
        if not result.judged:
            heading += " - in short, with less work and a nearer upstream: nothing to compare"
        if scenario.compared:
            parts.append(f"{heading}\n\n" + "\n".join(_table(_compared(scenario, result))))
            continue
        lines = [_line(row, result) for row in scenario.rows if row.key in result.samples]
        lines += [_curve(curve, result) for curve in scenario.curves if curve.key in result.points]
        parts.append(f"{heading}\n\n" + "\n".join(_table([HEAD, *lines])))
    return "\n\n".join(parts) + "\n"


def into_readme(readme: Path, text: str, plots: Sequence[Path]) -> None:
    """Between the two markers; the plots too, if they lie beside it."""
    for plot in plots:
        if plot.resolve().is_relative_to(readme.parent):
            text += f"\n![{plot.stem}]({plot.resolve().relative_to(readme.parent)})\n"
    before, _, rest = readme.read_text().partition(BEGIN)
    after = rest.partition(END)[2]
    readme.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")


def _line(row: Row, result: Result) -> Sequence[str]:
    samples = result.samples[row.key]
    measured = row.result(samples)
    sign = " ×" if row.kind == "ratio" else f" {row.unit}"
    return (
        row.work if row.ours == OURS else f"{row.work}: {row.ours}",
        row.aim,
        "" if measured is None else f"{_number(measured)}{sign}",
        f"{_spread(samples.get(row.ours, ()))} {row.unit}",
        f"{row.against}: {_spread(samples.get(row.against, ()))}" if row.against else "",
        _verdict(row.met(samples) if result.judged else None),
    )


def _compared(scenario: Scenario, result: Result) -> list[Sequence[str]]:
    """The contenders side by side: the medians, and nothing where one cannot do the work."""
    names = [f"{name} {result.versions.get(name, '')}".rstrip() for name in scenario.compared]
    lines = [
        (f"{row.work}, {row.unit}", *(_median(samples.get(name)) for name in scenario.compared))
        for row in scenario.rows
        if (samples := result.samples.get(row.key))
    ]
    return [("work", *names), *lines]


def _median(values: Sequence[float] | None) -> str:
    return _number(statistics.median(values)) if values else ""


def _curve(curve: Curve, result: Result) -> Sequence[str]:
    points = result.points[curve.key]
    steepest = curve.steepest(points)
    medians = [(work, statistics.median(points[work])) for work in sorted(points)]
    shown = "; ".join(f"{_number(work)}: {_number(cost)}" for work, cost in medians)
    return (
        f"{curve.title}: {curve.cost} by {curve.work}",
        f"≤ linear (slope {curve.bound:g})",
        "" if steepest is None else f"steepest {_number(steepest)}",
        shown,
        "",
        _verdict(steepest <= curve.bound if result.judged and steepest is not None else None),
    )


def _verdict(met: bool | None) -> str:
    return "" if met is None else "reached" if met else "**missed**"


def _spread(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = _number(statistics.median(values))
    return f"{middle} ({_number(min(values))} - {_number(max(values))})"


def _number(value: float) -> str:
    """Three figures, or all before the point."""
    if abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:.0f}" if value == int(value) else f"{value:.3g}"


def _table(lines: Sequence[Sequence[str]]) -> Iterator[str]:
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for number, line in enumerate(lines):
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        yield f"| {' | '.join(cells)} |"
        if number == 0:
            yield f"|{'|'.join('-' * (width + 2) for width in widths)}|"
