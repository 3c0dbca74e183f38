"""Scenario: cost against work. Twice the work may cost twice as much, and no more.

Costs are the server's CPU time, all that it does behind its answers included: on a shared machine
seconds tell more of the neighbours.
"""

from __future__ import annotations

import threading
from pathlib import Path

from benchmarks.agents import UV
from benchmarks.clients import Client, get
from benchmarks.lab import Lab, Scenario
from benchmarks.load import drive
from benchmarks.made import project
from benchmarks.processes import Broken, Server
from benchmarks.rows import Curve
from benchmarks.servers import StandIn, stand_in, waystation
from benchmarks.static_copy import LASTING

ROUNDS = 3
CLIENTS = 8
PAGES = (3, 200)
"""Cold pages of one measurement, at least and at most: CPU time has ticks of 10 ms."""
UNGUESSED = LASTING | {"speculate": "off"}
"""How much is cached is what is varied: nothing is fetched ahead beside it."""
ASKED = 5_000
"""Of many cached pages, evenly spread, so many are asked for, and stand for all."""


def _run(lab: Lab) -> None:
    folder = lab.folder("scaling")
    with stand_in(folder / "upstream") as upstream:
        with waystation(folder / "ours", upstream.url, settings=LASTING) as ours:
            for number in lab.each_round(ROUNDS):
                _cold(lab, upstream, ours, number)
                _warm(lab, ours)
                _connections(lab, ours)
        _projects(lab, upstream, folder / "filled")


def _cold(lab: Lab, upstream: StandIn, ours: Server, number: int) -> None:
    """The pages are others in every round, and made by the stand-in before."""
    for files in lab.sizes.grown_pages:
        pages = min(max(lab.sizes.cold_files // files, PAGES[0]), PAGES[1])
        paths = [_path(files, number * PAGES[1] + i) for i in range(pages)]
        before = ours.cpu_seconds()
        for path in paths:
            get(upstream.url + path, UV)
            get(ours.url + path, UV)
        ours.settle(lab.sizes.rest)
        lab.point("files-cold", files, (ours.cpu_seconds() - before) / pages * 1e3)


def _warm(lab: Lab, ours: Server) -> None:
    for files in lab.sizes.grown_pages:
        get(ours.url + _path(files), UV)
        ours.settle(lab.sizes.rest)
        lab.calm()
        load = drive(ours, _path(files), UV, seconds=lab.sizes.seconds)
        lab.point("files-warm", files, load.cpu)


def _connections(lab: Lab, ours: Server) -> None:
    for connections in lab.sizes.connections:
        lab.calm()
        load = drive(ours, _path(100), UV, seconds=lab.sizes.seconds, connections=connections)
        lab.point("connections", connections, load.cpu * connections)


def _projects(lab: Lab, upstream: StandIn, folder: Path) -> None:
    """Once, not every round: it takes long."""
    filled, spent = 0, 0.0
    for count in lab.sizes.projects:
        with waystation(folder, upstream.url, settings=UNGUESSED) as ours:
            spent += _spent(lab, ours, range(filled, count))
            lab.point("projects-fill", count, spent)
            lab.point("projects-memory", count, ours.pss())
        with waystation(folder, upstream.url, settings=UNGUESSED) as ours:  # with empty memory
            asked = range(0, count, max(count // ASKED, 1))
            lab.point("projects-read", count, _spent(lab, ours, asked) / len(asked) * count)
        filled = count


def _spent(lab: Lab, ours: Server, serials: range) -> float:
    """CPU seconds for the projects of these numbers, each asked for once."""
    ours.settle(lab.sizes.rest)
    before = ours.cpu_seconds()
    _ask(ours, serials)
    ours.settle(lab.sizes.rest)
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
