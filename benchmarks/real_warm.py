"""Scenarios: installs of the real set from a full cache, whose pages are fresh or expired.

By uv, the newest pip, and pip 23.2, which sends ``max-age=0`` with every page; beside nginx with
the same bytes as static files; upstream 50 ms away.

    python -m benchmarks real-warm real-expired
    python -m benchmarks real-expired --rounds 1 --patience 0  # for a first look

"Pages that wait" are those without an answer while upstream does not answer. Requests upstream
during an install from expired pages are no measure of this: revalidation runs in the background.
"""

from __future__ import annotations

import time

from benchmarks import agents, real_set
from benchmarks.clients import Client
from benchmarks.installers import Tool
from benchmarks.installs import EXPIRY, GRACE
from benchmarks.measures import OURS, Row
from benchmarks.processes import CORES, Server
from benchmarks.real_cold import Real, install_real, real
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import waystation
from benchmarks.static_copy import LASTING

TOOLS: dict[Tool, str] = {"uv": "uv", "pip": "newest pip", "old-pip": "pip 23.2"}
ROUNDS = 3
STALL = 5.0
"""Seconds that upstream takes for an answer while answers that wait for it are counted."""
PROMPT = 1.0
"""Seconds within which an answer that does not wait has come, also on a busy machine."""


def _warm(context: Context) -> None:
    with real(context) as those:
        folder = context.folder("ours")
        with waystation(folder, those.upstream.url, settings=LASTING, cores=CORES) as ours:
            install_real(context, "uv", ours.url)
            those.upstream.pace(context.sizes.latency)
            for _ in context.each_round(ROUNDS):
                for tool in TOOLS:
                    _both(those, tool, f"real-warm-{tool}", ours)


def _expired(context: Context) -> None:
    brief = GRACE | {"page_ttl": str(EXPIRY)}
    with real(context) as those:
        folder = context.folder("ours")
        with waystation(folder, those.upstream.url, settings=brief, cores=CORES) as ours:
            install_real(context, "uv", ours.url)
            those.upstream.pace(context.sizes.latency)
            for _ in context.each_round(ROUNDS):
                for tool in TOOLS:
                    time.sleep(EXPIRY)
                    _both(those, tool, f"real-expired-{tool}", ours)
            time.sleep(EXPIRY)
            for tool, headers in _page_headers().items():
                context.record(f"real-expired-{tool}-waits", OURS, _waits(those, ours, headers))


def _both(those: Real, tool: Tool, key: str, ours: Server) -> None:
    those.measure(key, tool, OURS, ours)
    those.measure(key, tool, "nginx", those.static)


def _page_headers() -> dict[Tool, dict[str, str]]:
    return {
        "uv": agents.UV,
        "pip": agents.PIP,
        "old-pip": agents.PIP | {"Cache-Control": "max-age=0"},
    }


def _waits(those: Real, ours: Server, headers: dict[str, str]) -> int:
    """How many pages get no answer while upstream is silent."""
    those.upstream.pace(STALL)
    client = Client(ours.url)
    waited = 0
    for project in real_set.projects()[: those.context.sizes.roots]:
        waited += client.get(f"/simple/{project.name}/", headers).seconds > PROMPT
    client.close()
    those.upstream.pace(those.context.sizes.latency)
    return waited


def _rows(key: str, work: str) -> list[Row]:
    return [
        Row(key, work, "s", 1.05, most=True),
        Row(f"{key}-cpu", f"{work}: server CPU", "s"),
    ]


def _count(key: str, work: str, unit: str, bound: float | None) -> Row:
    return Row(key, f"{work}: {unit}", unit, bound, True, "value", None)


SCENARIOS = (
    Scenario(
        "real-warm",
        "warm installs of the real set by uv and two versions of pip",
        _warm,
        [
            row
            for tool, name in TOOLS.items()
            for row in (
                *_rows(f"real-warm-{tool}", f"{name}, real set, warm"),
                _count(f"real-warm-{tool}-requests", f"{name}, warm", "upstream requests", bound=0),
            )
        ],
    ),
    Scenario(
        "real-expired",
        "the same with all pages expired",
        _expired,
        [
            row
            for tool, name in TOOLS.items()
            for row in (
                *_rows(f"real-expired-{tool}", f"{name}, real set, all pages expired"),
                _count(
                    f"real-expired-{tool}-waits", f"{name}, expired", "pages that wait", bound=0
                ),
            )
        ],
    ),
)
