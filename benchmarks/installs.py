"""Scenarios: installs of about 90 projects by pip and uv, directly and through us, in every state
that our cache can be in."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks import graph
from benchmarks.cold import DIRECT
from benchmarks.installers import OLD_PIP, Tool, install, old_pip_python
from benchmarks.lab import Lab, Scenario
from benchmarks.processes import Server, clean_environment
from benchmarks.rows import OURS, Row
from benchmarks.servers import SOURCE, StandIn, nginx, stand_in, waystation
from benchmarks.static_copy import copy_file, copy_page

GRACE = {"stale_while_revalidate": "86400"}
"""Pages that are stored may be answered while they are checked behind."""
EXPIRY = 1.0
"""Seconds until pages expire, where that is measured."""
ROUNDS = {"pip": 3, "old-pip": 3, "uv": 5}


def _pip(lab: Lab) -> None:
    with _upstream(lab) as upstream:
        upstream.pace(lab.sizes.latency)
        for _ in lab.each_round(ROUNDS["pip"]):
            _first_and_second(lab, upstream)


def _first_and_second(lab: Lab, upstream: StandIn) -> None:
    folder = lab.folder("pip")
    _timed(lab, "pip-cold", DIRECT, upstream, upstream.url)
    lab.record("pip-warm", DIRECT, lab.samples["pip-cold"][DIRECT][-1])
    with waystation(folder, upstream.url, settings=GRACE) as ours:
        _timed(lab, "pip-cold", OURS, upstream, ours.url)
        _timed(lab, "pip-warm", OURS, upstream, ours.url)
    _empty(folder / "cache")
    _timed(lab, "pip-second", DIRECT, upstream, upstream.url, similar=True)
    with waystation(folder, upstream.url, settings=GRACE) as ours:
        _timed(lab, "pip-second", OURS, upstream, ours.url, similar=True)


def _old_pip(lab: Lab) -> None:
    """Everything is stored: pages are fresh, or past their time."""
    with _upstream(lab) as upstream, _static(lab, upstream) as static:
        upstream.pace(lab.sizes.latency)
        for _ in lab.each_round(ROUNDS["old-pip"]):
            folder = lab.folder("old-pip")
            _timed(lab, "old-pip-warm", DIRECT, upstream, upstream.url)
            lab.record("old-pip-expired", DIRECT, lab.samples["old-pip-warm"][DIRECT][-1])
            with waystation(folder, upstream.url, settings=GRACE) as ours:
                _install(lab, "old-pip", ours.url)
                _timed(lab, "old-pip-warm", OURS, upstream, ours.url)
                lab.record("old-pip-warm", "nginx", _install(lab, "old-pip", static.url))
            _expired(lab, "old-pip", folder, upstream, static, "old-pip")


def _uv(lab: Lab) -> None:
    with _upstream(lab) as upstream, _static(lab, upstream) as static:
        for _ in lab.each_round(ROUNDS["uv"]):
            for key, rate in (("uv-slow", lab.sizes.rate), ("uv-fast", 0.0)):
                upstream.pace(lab.sizes.latency, rate)
                _timed(lab, f"{key}-cold", DIRECT, upstream, upstream.url)
                folder = lab.folder("uv")
                with waystation(folder, upstream.url, settings=GRACE) as ours:
                    _timed(lab, f"{key}-cold", OURS, upstream, ours.url)
                    lab.record(f"{key}-warm", OURS, _install(lab, "uv", ours.url))
                    lab.record(f"{key}-warm", "nginx", _install(lab, "uv", static.url))
                _expired(lab, key, folder, upstream, static, "uv")


def _expired(
    lab: Lab, key: str, folder: Path, upstream: StandIn, static: Server, tool: Tool
) -> None:
    """All pages are stored and past their time: just after a restart, and later."""
    brief = GRACE | {"page_ttl": str(EXPIRY)}
    with waystation(folder, upstream.url, settings=brief) as ours:
        for state in ("restarted", "expired"):
            time.sleep(EXPIRY)
            lab.record(f"{key}-{state}", OURS, _install(lab, tool, ours.url))
            upstream.settled(lab.sizes.rest)
            lab.record(f"{key}-{state}", "nginx", _install(lab, tool, static.url))


def _timed(
    lab: Lab, key: str, who: str, upstream: StandIn, url: str, similar: bool = False
) -> None:
    """The time of an install, and how often upstream was asked because of it."""
    before = upstream.settled(lab.sizes.rest)["requests"]
    tools: tuple[Tool, ...] = ("pip", "old-pip", "uv")
    tool = next(each for each in tools if key.startswith(each))
    lab.record(key, who, _install(lab, tool, url, similar))
    lab.record(f"{key}-requests", who, upstream.settled(lab.sizes.rest)["requests"] - before)


def _install(lab: Lab, tool: Tool, url: str, similar: bool = False) -> float:
    names = graph.roots(similar)[: lab.sizes.roots]
    lab.calm()
    python = old_pip_python(lab.work / "old-pip") if tool == "old-pip" else sys.executable
    return install(tool, f"{url}/simple/", names, lab.folder("target", fast=True), python)


@contextmanager
def _upstream(lab: Lab) -> Iterator[StandIn]:
    with stand_in(lab.folder("upstream"), lab.wheels()) as upstream:
        yield upstream


@contextmanager
def _static(lab: Lab, upstream: StandIn) -> Iterator[Server]:
    """Our answers to all that the install asks for, served by nginx."""
    folder = lab.folder("static")
    root = folder / "root"
    root.mkdir()
    _install(lab, "uv", upstream.url)
    asked = upstream.asked()
    with waystation(folder / "ours", upstream.url) as ours:
        for project in {name.partition("-")[0] for name in asked}:
            for filename, path in copy_page(ours, root, project.replace("_", "-")).items():
                if filename in asked:
                    copy_file(ours, root, path)
                    copy_file(ours, root, f"{path}.metadata")
    with nginx(folder / "nginx", root) as static:
        yield static


def _empty(cache: Path) -> None:
    """As a user would; what is remembered of earlier installs stays."""
    command = [sys.executable, "-m", "proxy", "cache", "purge", "--all", "--cache-dir", str(cache)]
    environment = clean_environment(cache) | {"PYTHONPATH": str(SOURCE)}
    subprocess.run(command, cwd=cache, env=environment, check=True, stdout=subprocess.DEVNULL)


def _row(key: str, work: str, bound: float | None, against: str = DIRECT) -> Row:
    return Row(key, work, "s", bound, most=True, against=against)


def _requests(key: str, work: str, bound: float | None) -> Row:
    return Row(
        f"{key}-requests", f"{work}: upstream requests", "requests", bound, True, against=DIRECT
    )


SCENARIOS = (
    Scenario(
        "pip-install",
        "pip install of about 90 projects, upstream 50 ms away",
        _pip,
        [
            _row("pip-cold", "pip install, cold", 0.35),
            _requests("pip-cold", "pip install, cold", 1.05),
            _row("pip-warm", "pip install, warm", None),
            _row("pip-second", "pip install of a similar set, emptied cache with memory", 0.25),
            _requests("pip-second", "pip install of a similar set", None),
        ],
    ),
    Scenario(
        "old-pip-install",
        f"the same by {OLD_PIP}, which asks for a refresh of every page",
        _old_pip,
        [
            _row("old-pip-warm", "old pip install, warm", 1.05, "nginx"),
            _requests("old-pip-warm", "old pip install, warm", 0.0),
            _row("old-pip-expired", "old pip install, all pages expired", 1.05, "nginx"),
            _row("old-pip-restarted", "the same, also just restarted", None, "nginx"),
        ],
    ),
    Scenario(
        "uv-install",
        "uv pip install of the same, with and without 100 Mbit/s a stream",
        _uv,
        [
            _row("uv-slow-cold", "uv pip install, cold, 100 Mbit/s a stream", 0.75),
            _requests("uv-slow-cold", "uv pip install, cold, 100 Mbit/s", 1.05),
            _row("uv-fast-cold", "uv pip install, cold, no bandwidth limit", 0.95),
            _requests("uv-fast-cold", "uv pip install, cold, no bandwidth limit", 1.05),
            _row("uv-slow-warm", "uv pip install, warm, 100 Mbit/s", 1.05, "nginx"),
            _row("uv-fast-warm", "uv pip install, warm, no bandwidth limit", 1.05, "nginx"),
            _row("uv-slow-expired", "uv pip install, all pages expired, 100 Mbit/s", 1.05, "nginx"),
            _row("uv-fast-expired", "uv pip install, all pages expired, no limit", 1.05, "nginx"),
            _row("uv-fast-restarted", "the same, also just restarted", None, "nginx"),
        ],
    ),
)
