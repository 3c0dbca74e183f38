"""How measurements become verdicts and tables; whether scenarios run is seen by running them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.capacity import DEMANDS, Demand, Prices, UnitCosts, need, table
from benchmarks.measures import Curve, Row
from benchmarks.report import BEGIN, END, Result, into_readme, tables
from benchmarks.scenario import Context, Scenario

CURVE = Curve("grown", "a page", "files", "CPU, µs")


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ({10: [5.0], 100: [5.0], 1000: [50.0]}, 1.0),  # linear, once the fixed cost is outweighed
        ({10: [1.0], 100: [100.0], 1000: [100.0]}, 2.0),  # one slope for all would be 1
        ({1000: [30.0], 10: [1.0, 1.0, 900.0], 100: [3.0]}, 1.0),  # medians, in order of work
        ({10: [4.0], 100: [4.0]}, 0.0),
    ],
)
def test_the_steepest_step_is_what_counts(
    points: dict[float, list[float]], expected: float
) -> None:
    assert CURVE.steepest(points) == pytest.approx(expected)


def test_one_point_is_no_curve() -> None:
    assert CURVE.steepest({10: [1.0]}) is None


@pytest.mark.parametrize(("cost", "verdict"), [(10.0, "reached"), (20.0, "**missed**")])
def test_a_curve_is_judged_by_it(cost: float, verdict: str) -> None:
    scenario = Scenario("s", "about", _nothing, curves=[CURVE])
    points = {"grown": {10.0: [1.0], 100.0: [cost]}}
    result = Result("s", "2026-01-01", "machine", 1, True, {}, points)
    (line,) = (each for each in tables([scenario], {"s": result}).splitlines() if "a page" in each)
    assert verdict in line
    assert "10: 1; 100: " in line


def test_contenders_are_shown_side_by_side_with_their_versions() -> None:
    rows = [Row("rate", "a page", "requests/s"), Row("large", "a file", "MB/s")]
    scenario = Scenario("s", "about", _nothing, rows, compared=("ours", "theirs"))
    samples = {"rate": {"ours": [3.0, 1.0, 2.0], "theirs": [1.5]}, "large": {"ours": [7.0]}}
    result = Result("s", "2026-01-01", "machine", 3, True, samples, {}, {"theirs": "4.5"})
    table = tables([scenario], {"s": result}).splitlines()[2:]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in table]
    assert [cells[0], *cells[2:]] == [
        ["work", "ours", "theirs 4.5"],
        ["a page, requests/s", "2", "1.5"],
        ["a file, MB/s", "7", ""],
    ]


def test_plots_are_shown_only_from_below_the_readme(tmp_path: Path) -> None:
    readme = tmp_path / "benchmarks" / "README.md"
    readme.parent.mkdir()
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    into_readme(readme, "new\n", [readme.parent / "results" / "a.png", tmp_path / "b.png"])
    assert readme.read_text() == (
        f"before\n{BEGIN}\n\nnew\n\n![a](results/a.png)\n\n{END}\nafter\n"
    )


def _nothing(context: Context) -> None:
    raise AssertionError


COSTS = UnitCosts(page=10e-6, file=20e-6, byte=0.5e-9, cold=1e-3)


def test_more_load_needs_more_of_everything() -> None:
    small, large = (need(Demand("", size, size * 1e6), COSTS) for size in (100, 10_000))
    assert large.replicas > small.replicas == 2
    assert large.cores == pytest.approx(100 * small.cores)
    assert large.gigabits == pytest.approx(100 * small.gigabits)
    assert large.redis_bytes == small.redis_bytes  # as many projects


def test_a_replica_is_spare_and_the_others_are_busy_to_the_planned_share() -> None:
    demand = Demand("", 36_000, 0, peak=1, files=0, cold=0)
    assert need(demand, COSTS).cores == pytest.approx(0.36)
    assert need(replace(demand, requests=3_599_000), COSTS).replicas == 60 + 1


def test_the_document_has_the_table_that_is_computed() -> None:
    text = (Path(__file__).parents[1] / "docs" / "scale.md").read_text()
    assert "\n".join(table(DEMANDS, UnitCosts.measured(), Prices())) in text
