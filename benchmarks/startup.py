"""Scenarios: the CPU of a start; how soon the first page comes when there are many local
distributions, and whether their number makes a page dearer."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks.agents import UV
from benchmarks.clients import get
from benchmarks.load import drive
from benchmarks.measures import OURS, Row
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import fake_upstream, waystation
from tests.support.distributions import make_wheel

OF_A_PROJECT = 10
FEW = 50
PAGE = "/simple/local-0/"


def _run(context: Context) -> None:
    many, few = context.sizes.local, min(FEW, context.sizes.local)
    packages = {count: _packages(context, count) for count in {many, few}}
    with fake_upstream(context.folder("upstream")) as upstream:
        for _ in context.each_round():
            folder = context.folder("startup")
            for key in ("start-first", "start-second"):
                _first_page(context, key, folder, upstream.url, packages[many])
            _page_cost(context, upstream.url, {"few": packages[few], OURS: packages[many]})


def _packages(context: Context, count: int) -> Path:
    folder = context.folder("packages")
    for number in range(count):
        name, version = number // OF_A_PROJECT, number % OF_A_PROJECT
        make_wheel(folder, f"local-{name}", f"1.{version}", requires=["local-1"])
    return folder


def _first_page(context: Context, key: str, folder: Path, upstream: str, packages: Path) -> None:
    context.calm()
    began = time.perf_counter()
    with waystation(folder, upstream, packages=packages, ready=PAGE) as ours:
        context.record(key, OURS, time.perf_counter() - began)
        get(ours.url + PAGE, UV)


def _page_cost(context: Context, upstream: str, packages: dict[str, Path]) -> None:
    for contender, folder in packages.items():
        with waystation(context.folder("cost"), upstream, packages=folder, ready=PAGE) as ours:
            ours.wait_idle(context.sizes.rest)  # it opens the distributions in the background
            context.calm()
            load = drive(ours, PAGE, UV, seconds=context.sizes.seconds)
            context.record("start-page-cost", contender, load.cpu)


def _start_cpu(context: Context) -> None:
    """Without private packages, on an empty cache; the first start, which compiles, is left out."""
    with fake_upstream(context.folder("upstream")) as upstream:
        with waystation(context.folder("compiling"), upstream.url):
            pass
        for _ in context.each_round():
            context.calm()
            with waystation(context.folder("start"), upstream.url) as ours:
                context.record("start-cpu-ready", OURS, ours.cpu_seconds())
                ours.wait_idle(context.sizes.rest)
                context.record("start-cpu", OURS, ours.cpu_seconds())


SCENARIOS = (
    Scenario(
        "start-cpu",
        "CPU of a start without private packages",
        _start_cpu,
        [
            Row("start-cpu", "CPU of the start, until idle", "s", 0.35, True, "value", None),
            Row("start-cpu-ready", "CPU of the start, until ready", "s", None, True, "value", None),
        ],
    ),
    Scenario(
        "startup",
        "start with 5,000 local distributions; what their number costs a page",
        _run,
        [
            Row(
                "start-second",
                "start to first page, 5,000 local distributions, second start",
                "s",
                0.4,
                most=True,
                kind="value",
                against=None,
            ),
            Row(
                "start-first",
                "the same, first start",
                "s",
                most=True,
                kind="value",
                against=None,
            ),
            Row(
                "start-page-cost",
                "CPU of a local page, 5,000 distributions beside 50",
                "µs/request",
                1.1,
                most=True,
                against="few",
            ),
        ],
    ),
)
