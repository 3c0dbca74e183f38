"""``python -m benchmarks``: run scenarios, print their tables, keep results and draw them."""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from benchmarks import (
    access,
    audit,
    cold,
    files,
    installs,
    judging,
    memory,
    pages,
    peers,
    people,
    plots,
    policies,
    real_cold,
    real_warm,
    replicas,
    report,
    scaling,
    startup,
    tail,
)
from benchmarks.processes import LOAD_CORE
from benchmarks.scenario import FULL, SHORT, Context, Scenario, say

SCENARIOS: Sequence[Scenario] = (
    *pages.SCENARIOS,
    *files.SCENARIOS,
    *memory.SCENARIOS,
    *cold.SCENARIOS,
    *installs.SCENARIOS,
    *real_cold.SCENARIOS,
    *real_warm.SCENARIOS,
    *tail.SCENARIOS,
    *policies.SCENARIOS,
    *judging.SCENARIOS,
    *access.SCENARIOS,
    *audit.SCENARIOS,
    *people.SCENARIOS,
    *replicas.SCENARIOS,
    *startup.SCENARIOS,
    *scaling.SCENARIOS,
)
TOOLS = ("nginx", "wrk", "taskset")
README = Path(__file__).with_name("README.md")
KEPT = ("wheels", "results")
"""Of the work folder, from one scenario to the next."""


def main() -> int:
    """Return 0 if all scenarios ran, 1 if one broke, 2 if a tool is missing."""
    options = _options()
    known = {each.name: each for each in (*SCENARIOS, *peers.SCENARIOS)}
    if options.list:
        for scenario in known.values():
            print(f"{scenario.name:18} {scenario.about}")
        return 0
    absent = [tool for tool in TOOLS if shutil.which(tool) is None]
    if absent:
        say(f"not installed: {', '.join(absent)}")
        return 2
    chosen = [known[name] for name in options.scenarios] or list(SCENARIOS)
    chosen += [each for each in peers.SCENARIOS if options.peers and each not in chosen]
    for number in (signal.SIGTERM, signal.SIGINT):  # leave every block, so that all is cleaned up
        signal.signal(number, lambda received, _: sys.exit(128 + received))
    os.sched_setaffinity(0, {LOAD_CORE})
    with tempfile.TemporaryDirectory(prefix="benchmarks-") as folder:
        context = Context(
            Path(folder), SHORT if options.short else FULL, options.rounds, options.patience
        )
        options.out = options.out or context.work / "results"
        try:
            broken = _run(chosen, context, options)
        finally:
            shutil.rmtree(Path("/dev/shm") / context.work.name, ignore_errors=True)
        _show(list(known.values()), options)
    for name in broken:
        say(f"broken: {name}")
    return 1 if broken else 0


def _run(chosen: Sequence[Scenario], context: Context, options: argparse.Namespace) -> list[str]:
    """Run the scenarios and return the names of those that broke."""
    broken = []
    for scenario in chosen:
        say(f"{scenario.name}: {scenario.about}")
        try:
            scenario.run(context)
        except Exception as error:  # noqa: BLE001  # after any error the other scenarios run
            say(f"  broken: {type(error).__name__}: {error}")
            broken.append(scenario.name)
        else:
            report.save(report.result_of(scenario, context, not options.short), options.out)
        for left in context.work.iterdir():
            if left.name not in KEPT:
                shutil.rmtree(left)
    return broken


def _show(scenarios: Sequence[Scenario], options: argparse.Namespace) -> None:
    results = report.load(options.out, scenarios)
    text = report.tables(scenarios, results)
    print(text)
    drawn: Sequence[Path] = []
    try:
        drawn = plots.draw(scenarios, results, options.out)
    except ImportError:
        say("no plots: matplotlib is not installed (it is in the extra `bench`)")
    for path in drawn:
        say(f"drawn: {path}")
    if options.readme and results:
        machine = next(iter(results.values())).machine
        report.into_readme(README, f"Measured on {machine}.\n\n{text}", drawn)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help="default: all")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--short", action="store_true", help="tiny sizes, one round, no verdicts")
    parser.add_argument("--rounds", type=int, help="default: 5")
    parser.add_argument(
        "--patience", type=float, default=600, help="seconds to wait for a quiet machine, in all"
    )
    parser.add_argument("--peers", action="store_true", help="also other servers, from PyPI")
    parser.add_argument("--out", type=Path, help="for JSON and plots; default: a temporary folder")
    parser.add_argument("--readme", action="store_true", help="write them into README.md")
    options = parser.parse_args()
    options.rounds = options.rounds or (1 if options.short else 5)
    names = {each.name for each in (*SCENARIOS, *peers.SCENARIOS)}
    if unknown := set(options.scenarios) - names:
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    return options


if __name__ == "__main__":
    sys.exit(main())
