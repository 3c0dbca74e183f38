"""Scenario: resident memory, as the proportional set size of the whole process tree."""

from __future__ import annotations

import threading
import time

from benchmarks.agents import UV
from benchmarks.clients import Client, get, read_all
from benchmarks.cold import first_file
from benchmarks.measures import OURS, Row
from benchmarks.processes import Server
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import fake_upstream, waystation
from benchmarks.synthetic_projects import project

DOWNLOADS = 50
ROUNDS = 3


def _run(context: Context) -> None:
    folder = context.folder("memory")
    with fake_upstream(folder / "upstream") as upstream:
        for number in context.each_round(ROUNDS):
            with waystation(folder / f"ours-{number}", upstream.url) as ours:
                _measure(context, ours)


def _measure(context: Context, ours: Server) -> None:
    ours.wait_idle(context.sizes.rest)
    context.record("memory-idle", OURS, ours.pss())
    client = Client(ours.url)
    for serial in range(context.sizes.memory_pages):
        client.get(f"/simple/{project(context.sizes.pages[-1], serial=serial)}/", UV)
    ours.wait_idle(context.sizes.rest)
    context.record("memory-pages", OURS, ours.pss())
    paths = []
    for serial in range(2):
        page = f"/simple/{project(1, context.sizes.large, serial=serial)}/"
        paths.append(first_file(client.get(page, UV), page))
    client.close()
    get(ours.url + paths[0])
    for key, path in zip(("warm", "cold"), paths, strict=True):
        ours.wait_idle(context.sizes.rest)
        before = ours.pss()
        context.record(f"memory-{key}", OURS, _most(ours, ours.url + path) - before)


def _most(ours: Server, url: str) -> float:
    """The peak of memory while many clients read the file."""
    readers = threading.Thread(target=read_all, args=(url, DOWNLOADS))
    readers.start()
    seen = [ours.pss()]
    while readers.is_alive():
        time.sleep(0.05)
        seen.append(ours.pss())
    readers.join()
    return max(seen)


def _row(key: str, work: str, bound: float) -> Row:
    return Row(key, work, "MB", bound, most=True, kind="value", against=None)


SCENARIOS = (
    Scenario(
        "memory",
        "resident memory: idle, after large pages, during large downloads",
        _run,
        [
            _row("memory-idle", "memory, idle", 60),
            _row("memory-pages", "memory after 16 pages of 10,000 files", 90),
            _row("memory-warm", "memory: more during 50 downloads of 100 MB, cached", 5),
            _row("memory-cold", "memory: more during 50 downloads of 100 MB, not cached", 5),
        ],
    ),
)
