"""Scenario: cost against work. Twice the work may cost twice as much, and no more."""

from __future__ import annotations

import threading
import time

from benchmarks.agents import UV
from benchmarks.clients import Client
from benchmarks.lab import Lab, Scenario
from benchmarks.load import drive, drive_any
from benchmarks.made import project
from benchmarks.processes import Broken, Server
from benchmarks.rows import Curve
from benchmarks.servers import stand_in, waystation
from benchmarks.static_copy import LASTING

FILLERS = 8
"""Connections over which the cache is filled."""


def _run(lab: Lab) -> None:
    folder = lab.folder("scaling")
    with (
        stand_in(folder / "upstream") as upstream,
        waystation(folder / "ours", upstream.url, settings=LASTING) as ours,
    ):
        for number in lab.each_round():
            _files(lab, ours, number)
            _connections(lab, ours)
        _projects(lab, ours)


def _files(lab: Lab, ours: Server, number: int) -> None:
    client = Client(ours.url)
    for files in lab.sizes.grown_pages:
        path = f"/simple/{project(files, serial=number)}/"
        lab.point("files-cold", files, client.get(path, UV).seconds * 1e3)
        time.sleep(lab.sizes.rest)
        lab.calm()
        load = drive(ours, path, UV, seconds=lab.sizes.seconds)
        lab.point("files-warm", files, load.cpu)
    client.close()


def _connections(lab: Lab, ours: Server) -> None:
    path = f"/simple/{project(100)}/"
    drive(ours, path, UV, seconds=1)
    for connections in lab.sizes.connections:
        lab.calm()
        load = drive(ours, path, UV, seconds=lab.sizes.seconds, connections=connections)
        lab.point("connections", connections, connections / load.rate * 1e3)


def _projects(lab: Lab, ours: Server) -> None:
    """Once, not every round: it takes long."""
    filled, seconds = 0, 0.0
    for count in lab.sizes.projects:
        seconds += _fill(ours, filled, count)
        filled = count
        lab.point("projects-fill", count, seconds)
        load = drive_any(ours, "/simple/made-3x11264-%d/", count, UV, seconds=lab.sizes.seconds)
        lab.point("projects-page", count, load.cpu)


def _fill(ours: Server, first: int, last: int) -> float:
    """Seconds until the projects of these numbers are cached."""
    numbers = iter(range(first, last))
    errors: list[Exception] = []

    def work() -> None:
        client = Client(ours.url)
        try:
            for number in numbers:
                client.get(f"/simple/{project(3, serial=number)}/", UV)
        except (OSError, Broken) as error:
            errors.append(error)
        finally:
            client.close()

    threads = [threading.Thread(target=work, daemon=True) for _ in range(FILLERS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise Broken(f"filling the cache failed: {errors[0]}")
    return time.perf_counter() - began


SCENARIOS = (
    Scenario(
        "scaling",
        "cost against work: files of a page, connections, cached projects",
        _run,
        curves=[
            Curve("files-warm", "warm page", "files of the page", "server CPU, µs a request"),
            Curve("files-cold", "cold page", "files of the page", "time, ms"),
            Curve("connections", "warm page, many at once", "connections", "time, ms for one each"),
            Curve(
                "projects-page", "any of the cached pages", "cached projects", "CPU, µs a request"
            ),
            Curve("projects-fill", "filling the cache", "cached projects", "time, s"),
        ],
    ),
)
