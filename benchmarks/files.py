"""Scenarios: large files, pages beside them, and many clients on one uncached file."""

from __future__ import annotations

import contextlib
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator

from benchmarks.agents import UV
from benchmarks.clients import Client, get, read_all
from benchmarks.measures import OURS, Row
from benchmarks.processes import Server, clean_environment, stop
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import SOURCE
from benchmarks.static_copy import Pair, copy_file, copy_page, pair
from benchmarks.synthetic_projects import project

READERS = (1, 4)
DOWNLOADS = 8
PAGE_INTERVAL = 0.003
"""Seconds between two probes."""


def _large(context: Context) -> None:
    with pair(context) as both:
        path = _copied(both, project(1, context.sizes.large))
        for _ in context.each_round():
            for readers in READERS:
                for server in both.both:
                    _read(context, server, path, readers)


def _read(context: Context, server: Server, path: str, readers: int) -> None:
    context.calm()
    before = server.cpu_seconds()
    seconds = read_all(server.url + path, readers, context.sizes.reads)
    gigabytes = context.sizes.large * readers * context.sizes.reads / 1e9
    context.record(f"large-{readers}-rate", server.name, gigabytes * 1e3 / seconds)
    context.record(f"large-{readers}-cpu", server.name, (server.cpu_seconds() - before) / gigabytes)


def _beside(context: Context) -> None:
    page = project(3)
    with pair(context) as both:
        path = _copied(both, project(1, context.sizes.large))
        copy_page(both.ours, both.root, page)
        for _ in context.each_round():
            for server in both.both:
                context.calm()
                with _downloads(server, path):
                    times = _probe(server, both.page(server, page), context.sizes.probes)
                quantiles = statistics.quantiles(times, n=100)
                context.record("beside-p50", server.name, quantiles[49] * 1e3)
                context.record("beside-p99", server.name, quantiles[98] * 1e3)


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
            time.sleep(PAGE_INTERVAL)
        return found
    finally:
        client.close()


def _crowd(context: Context) -> None:
    with pair(context) as both:
        for number in context.each_round():
            name = project(1, context.sizes.crowd_size, serial=number)
            (path,) = copy_page(both.ours, both.root, name).values()
            before = both.upstream.counts()["files"]
            context.calm()
            seconds = read_all(both.ours.url + path, context.sizes.crowd)
            asked = both.upstream.counts()["files"] - before
            context.record("crowd-time", OURS, seconds)
            context.record("crowd-fetches", OURS, asked)
            copy_file(both.ours, both.root, path)
            get(both.nginx.url + path)
            context.calm()
            context.record(
                "crowd-time", both.nginx.name, read_all(both.nginx.url + path, context.sizes.crowd)
            )


def _copied(both: Pair, name: str) -> str:
    """The path of the project's only file, on both servers."""
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
