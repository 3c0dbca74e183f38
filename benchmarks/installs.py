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
from benchmarks.measures import OURS, Row
from benchmarks.processes import Server, clean_environment
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import SOURCE, FakeUpstream, fake_upstream, nginx, waystation
from benchmarks.static_copy import copy_file, copy_page

GRACE = {"stale_while_revalidate": "86400"}
"""Expired cached pages are answered while they are revalidated in the background."""
EXPIRY = 1.0
"""Seconds until pages expire, where that is measured."""
ROUNDS = {"pip": 3, "old-pip": 3, "uv": 5}


def _pip(context: Context) -> None:
    with _upstream(context) as upstream:
        upstream.pace(context.sizes.latency)
        for _ in context.each_round(ROUNDS["pip"]):
            _first_and_second(context, upstream)


def _first_and_second(context: Context, upstream: FakeUpstream) -> None:
    folder = context.folder("pip")
    _timed(context, "pip-cold", DIRECT, upstream, upstream.url)
    context.record("pip-warm", DIRECT, context.samples["pip-cold"][DIRECT][-1])
    with waystation(folder, upstream.url, settings=GRACE) as ours:
        _timed(context, "pip-cold", OURS, upstream, ours.url)
        _timed(context, "pip-warm", OURS, upstream, ours.url)
    _empty(folder / "cache")
    _timed(context, "pip-second", DIRECT, upstream, upstream.url, similar=True)
    with waystation(folder, upstream.url, settings=GRACE) as ours:
        _timed(context, "pip-second", OURS, upstream, ours.url, similar=True)


def _old_pip(context: Context) -> None:
    """Everything is cached; pages are fresh or expired."""
    with _upstream(context) as upstream, _static(context, upstream) as static:
        upstream.pace(context.sizes.latency)
        for _ in context.each_round(ROUNDS["old-pip"]):
            folder = context.folder("old-pip")
            _timed(context, "old-pip-warm", DIRECT, upstream, upstream.url)
            context.record("old-pip-expired", DIRECT, context.samples["old-pip-warm"][DIRECT][-1])
            with waystation(folder, upstream.url, settings=GRACE) as ours:
                _install(context, "old-pip", ours.url)
                _timed(context, "old-pip-warm", OURS, upstream, ours.url)
                context.record("old-pip-warm", "nginx", _install(context, "old-pip", static.url))
            _expired(context, "old-pip", folder, upstream, static, "old-pip")


def _uv(context: Context) -> None:
    with _upstream(context) as upstream, _static(context, upstream) as static:
        for _ in context.each_round(ROUNDS["uv"]):
            for key, rate in (("uv-slow", context.sizes.rate), ("uv-fast", 0.0)):
                upstream.pace(context.sizes.latency, rate)
                _timed(context, f"{key}-cold", DIRECT, upstream, upstream.url)
                folder = context.folder("uv")
                with waystation(folder, upstream.url, settings=GRACE) as ours:
                    _timed(context, f"{key}-cold", OURS, upstream, ours.url)
                    context.record(f"{key}-warm", OURS, _install(context, "uv", ours.url))
                    context.record(f"{key}-warm", "nginx", _install(context, "uv", static.url))
                _expired(context, key, folder, upstream, static, "uv")


def _expired(
    context: Context, key: str, folder: Path, upstream: FakeUpstream, static: Server, tool: Tool
) -> None:
    """All pages are cached and expired: just after a restart, and later."""
    brief = GRACE | {"page_ttl": str(EXPIRY)}
    with waystation(folder, upstream.url, settings=brief) as ours:
        for state in ("restarted", "expired"):
            time.sleep(EXPIRY)
            context.record(f"{key}-{state}", OURS, _install(context, tool, ours.url))
            upstream.wait_quiet(context.sizes.rest)
            context.record(f"{key}-{state}", "nginx", _install(context, tool, static.url))


def _timed(
    context: Context,
    key: str,
    contender: str,
    upstream: FakeUpstream,
    url: str,
    similar: bool = False,
) -> None:
    """Record the time of an install and the requests that it caused upstream."""
    before = upstream.wait_quiet(context.sizes.rest)["requests"]
    tools: tuple[Tool, ...] = ("pip", "old-pip", "uv")
    tool = next(each for each in tools if key.startswith(each))
    context.record(key, contender, _install(context, tool, url, similar))
    context.record(
        f"{key}-requests", contender, upstream.wait_quiet(context.sizes.rest)["requests"] - before
    )


def _install(context: Context, tool: Tool, url: str, similar: bool = False) -> float:
    names = graph.roots(similar)[: context.sizes.roots]
    context.calm()
    python = old_pip_python(context.work / "old-pip") if tool == "old-pip" else sys.executable
    return install(tool, f"{url}/simple/", names, context.folder("target", fast=True), python)


@contextmanager
def _upstream(context: Context) -> Iterator[FakeUpstream]:
    with fake_upstream(context.folder("upstream"), context.wheels()) as upstream:
        yield upstream


@contextmanager
def _static(context: Context, upstream: FakeUpstream) -> Iterator[Server]:
    """Our answers to all requests of the install, served by nginx."""
    folder = context.folder("static")
    root = folder / "root"
    root.mkdir()
    _install(context, "uv", upstream.url)
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
    """Empty the cache as a user would; the history of installs stays."""
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
