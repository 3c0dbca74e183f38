"""Scenario: cost against work. Twice the work may cost twice as much, and no more.

Costs are the server's CPU time, with its work in the background: on a shared machine wall-clock
time depends on the neighbours.
"""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks.agents import UV
from benchmarks.clients import Client, get
from benchmarks.load import drive
from benchmarks.measures import Curve
from benchmarks.processes import Broken, Server
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import FakeUpstream, fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project

ROUNDS = 3
CLIENTS = 8
PAGES = (3, 200)
"""Cold pages of one measurement, at least and at most: CPU time has ticks of 10 ms."""
UNGUESSED = LASTING | {"speculate": "off"}
"""How much is cached is what is varied: nothing is fetched ahead beside it."""
ASKED = 5_000
"""Number of pages requested as a sample, evenly spread over all cached pages."""


def _run(context: Context) -> None:
    folder = context.folder("scaling")
    with fake_upstream(folder / "upstream") as upstream:
        with waystation(folder / "ours", upstream.url, settings=LASTING) as ours:
            for number in context.each_round(ROUNDS):
                _cold(context, upstream, ours, number)
                _warm(context, ours)
                _connections(context, ours)
        _projects(context, upstream, folder / "filled")


def _cold(context: Context, upstream: FakeUpstream, ours: Server, number: int) -> None:
    """The pages differ in every round; the fake upstream makes them before the measurement."""
    for files in context.sizes.grown_pages:
        pages = min(max(context.sizes.cold_files // files, PAGES[0]), PAGES[1])
        paths = [_path(files, number * PAGES[1] + i) for i in range(pages)]
        before = ours.cpu_seconds()
        for path in paths:
            get(upstream.url + path, UV)
            get(ours.url + path, UV)
        ours.wait_idle(context.sizes.rest)
        context.point("files-cold", files, (ours.cpu_seconds() - before) / pages * 1e3)


def _warm(context: Context, ours: Server) -> None:
    for files in context.sizes.grown_pages:
        get(ours.url + _path(files), UV)
        ours.wait_idle(context.sizes.rest)
        context.calm()
        load = drive(ours, _path(files), UV, seconds=context.sizes.seconds)
        context.point("files-warm", files, load.cpu)


def _connections(context: Context, ours: Server) -> None:
    for connections in context.sizes.connections:
        context.calm()
        load = drive(ours, _path(100), UV, seconds=context.sizes.seconds, connections=connections)
        context.point("connections", connections, load.cpu * connections)


def _projects(context: Context, upstream: FakeUpstream, folder: Path) -> None:
    """Once, not every round: it takes long."""
    filled, spent = 0, 0.0
    for count in context.sizes.projects:
        with waystation(folder, upstream.url, settings=UNGUESSED) as ours:
            spent += _spent(context, ours, range(filled, count))
            context.point("projects-fill", count, spent)
            context.point("projects-memory", count, ours.pss())
        with waystation(folder, upstream.url, settings=UNGUESSED) as ours:  # with empty memory
            asked = range(0, count, max(count // ASKED, 1))
            context.point("projects-read", count, _spent(context, ours, asked) / len(asked) * count)
        filled = count


def _spent(context: Context, ours: Server, serials: range) -> float:
    """CPU seconds for the projects of these numbers, each asked for once."""
    ours.wait_idle(context.sizes.rest)
    before = ours.cpu_seconds()
    _ask(ours, serials)
    ours.wait_idle(context.sizes.rest)
    return ours.cpu_seconds() - before


def _path(files: int, serial: int = 999_999) -> str:
    return f"/simple/{project(files, serial=serial)}/"


def _ask(ours: Server, serials: range) -> None:
    numbers = iter(serials)
    errors: list[Exception] = []

    def work() -> None:
        client = Client(ours.url)
        try:
            for number in numbers:
                client.get(_path(3, number), UV)
        except (OSError, Broken) as error:
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise Broken(f"not all projects could be had: {errors[0]}")


SCENARIOS = (
    Scenario(
        "scaling",
        "cost against work: files of a page, connections, cached projects",
        _run,
        curves=[
            Curve("files-warm", "a warm page", "files of the page", "CPU, µs"),
            Curve("files-cold", "a cold page", "files of the page", "CPU, ms"),
            Curve("connections", "a warm page of 100 files for each", "connections", "CPU, µs"),
            Curve("projects-fill", "filling the cache", "cached projects", "CPU, s"),
            Curve("projects-read", "all of it after a restart", "cached projects", "CPU, s"),
            Curve("projects-memory", "memory when it is filled", "cached projects", "MB"),
        ],
    ),
)
