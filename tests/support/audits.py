"""Answers as events, and an audit of them in a folder."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.audit import AuditTrail, ClientNames, Database, Found, JsonLines, Wanted, find
from proxy.audit.privacy import Clients
from proxy.audit.trail import Journal
from proxy.events import AnswerServed, AuditLost, Event, Outcome, RequestKind
from proxy.model import ProjectName

NOON = 1_780_000_000.0 // 86_400 * 86_400 + 43_200
"""Unix time in seconds, in the middle of a day (UTC)."""
DAY = 86_400.0
KEEP = 400 * DAY
AGENT = (
    'pip/26.3 {"ci":true,"cpu":"x86_64","distro":{"id":"bookworm","libc":{"lib":"glibc","version":'
    '"2.36"},"name":"Debian GNU/Linux","version":"12"},"implementation":{"name":"CPython",'
    '"version":"3.12.1"},"installer":{"name":"pip","version":"26.3"},"python":"3.12.1",'
    '"system":{"name":"Linux","release":"6.1"},"user_data":"job https://ci.example.com/7"}'
)


def answer(version: str = "1.0", when: float = NOON, **fields: Any) -> AnswerServed:
    """The wheel of ``demo`` in that version, received; ``fields`` say what is different."""
    given: dict[str, Any] = {
        "client": "10.0.0.1",
        "user_agent": AGENT,
        "method": "GET",
        "path": "/files/",
        "kind": RequestKind.FILE,
        "index": "main",
        "project": ProjectName("demo"),
        "filename": f"demo-{version}-py3-none-any.whl",
        "digest": "a" * 64,
        "status": 200,
        "outcome": Outcome.HIT,
        "sent": 100,
        "timings": ((when, 2.0),),
    }
    return AnswerServed(**given | fields)


class Lost(list[AuditLost]):
    """Gets the events of a trail."""

    def __call__(self, event: Event) -> None:
        assert isinstance(event, AuditLost)
        self.append(event)


def database(folder: Path, clients: Clients = "full", keep: float = KEEP) -> Database:
    return Database(folder, ClientNames(clients, folder), keep)


def json_lines(folder: Path, clients: Clients = "full", **options: Any) -> JsonLines:
    return JsonLines(folder, ClientNames(clients, folder), options.pop("keep", KEEP), **options)


@asynccontextmanager
async def auditing(
    *journals: Journal, now: float = NOON, lost: Lost | None = None, **options: Any
) -> AsyncIterator[AuditTrail]:
    """A trail; at the end everything is written."""
    trail = AuditTrail(journals, Lost() if lost is None else lost, clock=lambda: now, **options)
    async with trail.running():
        yield trail


async def remember(
    folder: Path, events: Sequence[AnswerServed], now: float = NOON, **options: Any
) -> None:
    async with auditing(database(folder), now=now, **options) as trail:
        for event in events:
            trail.observe(event)


def found(folder: Path, **wanted: Any) -> list[Found]:
    return sorted(find(folder, Wanted(**wanted)), key=lambda each: (each.filename, each.client))
