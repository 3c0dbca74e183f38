"""Scenarios: cold installs of the real set by uv and pip.

Directly from an ordinary aiohttp index, through a bare aiohttp forwarder, through us, and from
nginx with static files, side by side. Client, server and upstream share all cores, as on a
developer's machine.

    python -m benchmarks real-uv-cold                          # 5 rounds
    python -m benchmarks real-uv-cold --rounds 1 --patience 0  # half a minute, for a first look
    python -m benchmarks real-uv-slow-cold real-pip-cold       # upstream 50 ms away

Server CPU is user and system time of all processes of the server, from just before the install
until the server is idle after it; the start does not count. It is steadier than time.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from benchmarks import graph, real_set
from benchmarks.aiohttp_forwarder import CAREFUL, FORWARDER, aiohttp_forwarder
from benchmarks.cold import DIRECT
from benchmarks.installers import Tool, install, old_pip_python
from benchmarks.measures import OURS, Row
from benchmarks.plain_index import plain_index
from benchmarks.processes import CORES, Server, on_cores
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import FakeUpstream, nginx, waystation
from benchmarks.static_copy import copy_file, copy_page

ROUNDS = {"pip": 3, "old-pip": 3, "uv": 5}


@dataclass(frozen=True, slots=True)
class Real:
    """The servers that last for a whole scenario."""

    context: Context
    upstream: FakeUpstream
    static: Server

    def measure(self, key: str, tool: Tool, contender: str, server: Server | FakeUpstream) -> None:
        """Install; record seconds and upstream's requests, of our servers also CPU and memory."""
        context, rest = self.context, self.context.sizes.rest
        context.calm()
        before = self.upstream.wait_quiet(rest)["requests"]
        with _costs(context, key, server) if isinstance(server, Server) else _free():
            seconds = self.install(tool, server.url)
        context.record(key, contender, seconds)
        asked = self.upstream.wait_quiet(rest)["requests"] - before
        context.record(f"{key}-requests", contender, asked)

    def install(self, tool: Tool, url: str) -> float:
        """Seconds of an install."""
        return install_real(self.context, tool, url)


def install_real(context: Context, tool: Tool, url: str) -> float:
    names = graph.roots()[: context.sizes.roots]
    python = old_pip_python(context.work / "old-pip") if tool == "old-pip" else sys.executable
    with on_cores(CORES):
        return install(tool, f"{url}/simple/", names, context.folder("target", fast=True), python)


@contextmanager
def _costs(context: Context, key: str, server: Server) -> Iterator[None]:
    """Record the CPU seconds, and the growth of memory, of what the server does in the block."""
    rest = context.sizes.rest
    server.wait_idle(rest)
    server.reset_peak()
    cpu, memory = server.cpu_seconds(), server.resident()
    yield
    server.wait_idle(rest)
    context.record(f"{key}-cpu", server.name, server.cpu_seconds() - cpu)
    context.record(f"{key}-memory", server.name, server.resident(peak=True) - memory)


def _free() -> contextlib.AbstractContextManager[None]:
    return contextlib.nullcontext()


@contextmanager
def real(context: Context) -> Iterator[Real]:
    """An upstream with the real set, and our answers to all requests of the install in nginx."""
    folder = context.folder("real")
    root = folder / "root"
    root.mkdir()
    with plain_index(folder / "upstream", real_set.wheels(), CORES) as upstream:
        install_real(context, "uv", upstream.url)
        asked = upstream.asked()
        with waystation(folder / "ours", upstream.url, cores=CORES) as ours:
            for project in {name.partition("-")[0].replace("_", "-") for name in asked}:
                for filename, path in copy_page(ours, root, project).items():
                    if filename in asked:
                        copy_file(ours, root, path)
                        copy_file(ours, root, f"{path}.metadata")
        with nginx(folder / "nginx", root, CORES) as static:
            yield Real(context, upstream, static)


def _cold(context: Context, tool: Tool, key: str, latency: float = 0.0, rate: float = 0.0) -> None:
    with real(context) as those:
        those.upstream.pace(latency, rate)
        for _ in context.each_round(ROUNDS[tool]):
            cold_round(those, tool, key)


def cold_round(those: Real, tool: Tool, key: str) -> None:
    """Each contender once, with an empty cache."""
    context, upstream = those.context, those.upstream
    those.measure(key, tool, DIRECT, upstream)
    for careful in (False, True):
        folder = context.folder("forwarder")
        with aiohttp_forwarder(folder, upstream.url, CORES, careful) as forwarder:
            those.measure(key, tool, forwarder.name, forwarder)
    with waystation(context.folder("ours"), upstream.url, cores=CORES) as ours:
        those.measure(key, tool, OURS, ours)
    those.measure(key, tool, "nginx", those.static)


def _uv(context: Context) -> None:
    _cold(context, "uv", "real-uv")


def _uv_slow(context: Context) -> None:
    _cold(context, "uv", "real-uv-slow", context.sizes.latency, context.sizes.rate)


def _pip(context: Context) -> None:
    tools: tuple[Tool, ...] = ("pip", "old-pip")
    with real(context) as those:
        those.upstream.pace(context.sizes.latency)
        for _ in context.each_round(ROUNDS["pip"]):
            for tool in tools:
                cold_round(those, tool, f"real-{tool}")


def _rows(key: str, work: str, bound: float) -> list[Row]:
    """Ours beside the others: time, CPU, memory, requests."""
    return [
        Row(key, work, "s", bound, most=True, against=DIRECT),
        Row(key, work, "s", against=DIRECT, ours=FORWARDER),
        Row(key, work, "s", against=DIRECT, ours=CAREFUL),
        Row(key, work, "s", against=DIRECT, ours="nginx"),
        Row(
            f"{key}-requests", f"{work}: upstream requests", "requests", 1.05, True, against=DIRECT
        ),
    ]


def _cpu(key: str, work: str, bound: float | None = None) -> list[Row]:
    """``bound``: as a multiple of either forwarder."""
    return [
        Row(f"{key}-cpu", f"{work}: server CPU", "s", bound, True, against=which)
        for which in (FORWARDER, CAREFUL)
    ]


def _uv_rows(key: str, work: str) -> list[Row]:
    return [
        *_rows(key, work, 1.0),
        Row(f"{key}-cpu", f"{work}: server CPU", "s", 0.75, True, "value", None),
        *_cpu(key, work, 1.15),
        Row(f"{key}-memory", f"{work}: more memory", "MB", 20, True, "value", FORWARDER),
    ]


SCENARIOS = (
    Scenario(
        "real-uv-cold",
        "cold uv pip install of the real set, ordinary index as upstream, all on the same cores",
        _uv,
        _uv_rows("real-uv", "uv, real set, cold"),
    ),
    Scenario(
        "real-uv-slow-cold",
        "the same, upstream 50 ms away, 100 Mbit/s a stream",
        _uv_slow,
        [
            *_rows("real-uv-slow", "uv, real set, cold, 50 ms, 100 Mbit/s", 0.75),
            *_cpu("real-uv-slow", "uv, real set, cold, 50 ms, 100 Mbit/s"),
        ],
    ),
    Scenario(
        "real-pip-cold",
        "cold pip install of the real set by two versions of pip, upstream 50 ms away",
        _pip,
        [
            *_rows("real-pip", "newest pip, real set, cold", 0.38),
            *_cpu("real-pip", "newest pip, real set, cold"),
            *_rows("real-old-pip", "pip 23.2, real set, cold", 0.38),
            *_cpu("real-old-pip", "pip 23.2, real set, cold"),
        ],
    ),
)
