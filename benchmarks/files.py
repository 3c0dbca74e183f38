"""Scenarios: large files, pages beside them, and many clients on a file that nobody has yet."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.agents import UV
from benchmarks.clients import Client, get, read_all
from benchmarks.lab import Lab, Scenario
from benchmarks.made import project
from benchmarks.processes import Server, clean_environment, stop
from benchmarks.rows import OURS, Row
from benchmarks.servers import SOURCE
from benchmarks.static_copy import Pair, copy_file, copy_page, pair

READERS = (1, 4)
DOWNLOADS = 8
PAUSE = 0.003
"""Seconds between two probes."""


def _large(lab: Lab) -> None:
    with pair(lab) as both:
        path = _copied(both, project(1, lab.sizes.large))
        for _ in lab.each_round():
            for readers in READERS:
                for server in both.both:
                    _read(lab, server, path, readers)


def _read(lab: Lab, server: Server, path: str, readers: int) -> None:
    lab.calm()
    before = server.cpu_seconds()
    seconds = read_all(server.url + path, readers, lab.sizes.reads)
    gigabytes = lab.sizes.large * readers * lab.sizes.reads / 1e9
    lab.record(f"large-{readers}-rate", server.name, gigabytes * 1e3 / seconds)
    lab.record(f"large-{readers}-cpu", server.name, (server.cpu_seconds() - before) / gigabytes)


def _beside(lab: Lab) -> None:
    page = project(3)
    with pair(lab) as both:
        path = _copied(both, project(1, lab.sizes.large))
        copy_page(both.ours, both.root, page)
        for _ in lab.each_round():
            for server in both.both:
                lab.calm()
                with _downloads(server, path):
                    times = _probe(server, both.page(server, page), lab.sizes.probes)
                quantiles = statistics.quantiles(times, n=100)
                lab.record("beside-p50", server.name, quantiles[49] * 1e3)
                lab.record("beside-p99", server.name, quantiles[98] * 1e3)


@contextlib.contextmanager
def _downloads(server: Server, path: str) -> Iterator[None]:
    """Large downloads, one after the other, until the block is left."""
    command = [sys.executable, "-m", "benchmarks.clients", server.url + path, str(DOWNLOADS)]
    environment = clean_environment(server.log.parent) | {"PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(command, env=environment)
    try:
        time.sleep(0.5)  # all of them are running by then, and still are at the end
        yield
        assert process.poll() is None
    finally:
        stop(process)


def _probe(server: Server, path: str, times: int) -> list[float]:
    """Seconds for each answer."""
    client = Client(server.url)
    try:
        found = []
        for _ in range(times):
            found.append(client.get(path, UV).seconds)
            time.sleep(PAUSE)
        return found
    finally:
        client.close()


def _crowd(lab: Lab) -> None:
    with pair(lab) as both:
        for number in lab.each_round():
            name = project(1, lab.sizes.crowd_size, serial=number)
            (path,) = copy_page(both.ours, both.root, name).values()
            before = both.upstream.counts()["files"]
            lab.calm()
            seconds = read_all(both.ours.url + path, lab.sizes.crowd)
            asked = both.upstream.counts()["files"] - before
            lab.record("crowd-time", OURS, seconds)
            lab.record("crowd-fetches", OURS, asked)
            copy_file(both.ours, both.root, path)
            get(both.nginx.url + path)
            lab.calm()
            lab.record(
                "crowd-time", both.nginx.name, read_all(both.nginx.url + path, lab.sizes.crowd)
            )


def _copied(both: Pair, name: str) -> str:
    """The path of the project's only file, which both have."""
    (path,) = copy_page(both.ours, both.root, name).values()
    copy_file(both.ours, both.root, path)
    for server in both.both:
        read_all(server.url + path, 1)
    return path


SCENARIOS = (
    Scenario(
        "large-files",
        "a warm file of 100 MB, 1 and 4 readers",
        _large,
        [
            row
            for readers in READERS
            for row in (
                Row(f"large-{readers}-rate", f"100 MB file, readers: {readers}", "MB/s", 0.95),
                Row(
                    f"large-{readers}-cpu",
                    f"100 MB file, readers: {readers}: server CPU",
                    "s/GB",
                    1.2,
                    most=True,
                ),
            )
        ],
    ),
    Scenario(
        "beside-downloads",
        "a small page while 8 large downloads are running",
        _beside,
        [
            Row("beside-p50", "page beside 8 large downloads, p50", "ms", 1.0, most=True),
            Row("beside-p99", "page beside 8 large downloads, p99", "ms", 1.0, most=True),
        ],
    ),
    Scenario(
        "crowd",
        "50 clients on one uncached file of 50 MB",
        _crowd,
        [
            Row("crowd-time", "50 clients, one uncached 50 MB file", "s", 1.1, most=True),
            Row(
                "crowd-fetches",
                "50 clients, one uncached 50 MB file: upstream fetches",
                "fetches",
                1,
                most=True,
                kind="value",
                against=None,
            ),
        ],
    ),
)
