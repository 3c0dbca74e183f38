"""Scenario: what the audit costs an answer, and how long a question to a year of it takes."""

from __future__ import annotations

import asyncio
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import tomli_w

from benchmarks.agents import PIP, UV
from benchmarks.clients import get
from benchmarks.load import drive
from benchmarks.measures import OURS, Row
from benchmarks.processes import clean_environment
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import SOURCE, fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project
from proxy.audit import AuditTrail, ClientNames, Database
from proxy.audit.entries import entries_of
from proxy.events import AnswerServed, Outcome, RequestKind
from proxy.model import ProjectName

WITHOUT = "without an audit"
DAYS = 400
CLIENTS, PROJECTS, VERSIONS = 1_500, 400, 10
DAY = 86_400
PER_DAY = 2_500
"""Answers: a million in all."""
ASKED = ("--project", "project-0", "--version", "==1.0", "--since", "400d", "--json")


def _run(context: Context) -> None:
    with fake_upstream(context.folder("upstream")) as upstream:
        for _ in context.each_round():
            for contender, table in ((WITHOUT, {}), (OURS, {"audit": {"pages": True}})):
                _warm(context, upstream.url, contender, table)
            _observe(context)
            _ask(context)


def _warm(context: Context, upstream: str, contender: str, table: Mapping[str, object]) -> None:
    path = f"/simple/{project(min(300, context.sizes.pages[-1]))}/"
    folder = context.folder("audit")
    config = folder / "waystation.toml"
    index = {"kind": "mirror", "url": f"{upstream}/simple/"}
    config.write_text(tomli_w.dumps({"indexes": {"main": index}, **table}))
    with waystation(folder, upstream, settings=LASTING, config=config) as ours:
        get(ours.url + path, UV)
        ours.wait_idle(context.sizes.rest)
        context.calm()
        load = drive(ours, path, UV, seconds=context.sizes.seconds)
        context.record("audit-page", contender, load.cpu)


def _observe(context: Context) -> None:
    """Each answer is an event of its own, as in the handlers: the most expensive case."""
    folder = context.folder("audit", fast=True)
    days = 4 if context.sizes.seconds > 1 else 1
    events = [event for day in range(days) for event in _answers(day)]
    names = ClientNames("full", folder)

    async def observe() -> None:
        trail = AuditTrail([Database(folder, names, DAYS * DAY)], lambda event: None)
        async with trail.running():
            began, loop_began = time.process_time(), time.thread_time()
            for event in events:
                trail.observe(event)
            context.record("audit-loop", OURS, _micros(time.thread_time() - loop_began, events))
        context.record("audit-write", OURS, _micros(time.process_time() - began, events))

    context.calm()
    asyncio.run(observe())


def _micros(seconds: float, events: list[AnswerServed]) -> float:
    return seconds / len(events) * 1e6


def _ask(context: Context) -> None:
    folder = context.folder("audit")
    config = folder / "waystation.toml"
    config.write_text("[audit]\n")
    _fill(folder / "cache" / "audit", DAYS if context.sizes.seconds > 1 else 4)
    command = [sys.executable, "-m", "proxy", "audit", "--config", str(config)]
    command += ["--cache-dir", str(folder / "cache"), *ASKED]
    environment = clean_environment(folder) | {"PYTHONPATH": str(SOURCE)}
    context.calm()
    began = time.perf_counter()
    subprocess.run(command, env=environment, check=True, capture_output=True, cwd=folder)
    context.record("audit-ask", OURS, time.perf_counter() - began)


def _fill(folder: Path, days: int) -> None:
    database = Database(folder, ClientNames("full", folder), DAYS * DAY)
    for day in range(days):
        entries = [each for event in _answers(day) for each in entries_of(event, pages=False)]
        for start in range(0, len(entries), 512):
            database.write(entries[start : start + 512], time.time())
    database.close()


def _answers(day: int) -> Iterator[AnswerServed]:
    """Of one day, so many days ago; a few projects and clients have most of them."""
    chance = random.Random(day)
    midnight = time.time() // DAY * DAY - day * DAY
    agents = (PIP["User-Agent"], UV["User-Agent"])
    for number in range(PER_DAY):
        name = f"project-{int(PROJECTS * chance.random() ** 3)}"
        version = f"1.{int(VERSIONS * chance.random() ** 2)}"
        client = int(CLIENTS * chance.random())
        yield AnswerServed(
            client=f"10.0.{client // 256}.{client % 256}",
            user_agent=agents[client % 2],
            method="GET",
            path="/",
            kind=RequestKind.FILE,
            index="main",
            project=ProjectName(name),
            filename=f"{name.replace('-', '_')}-{version}-py3-none-any.whl",
            digest="a" * 64,
            status=200,
            outcome=Outcome.HIT,
            sent=1000,
            timings=((midnight + number * 30, 1.0),),
        )


SCENARIOS = (
    Scenario(
        "audit",
        f"what an audit costs; a question to {DAYS * PER_DAY:,} answers of {DAYS} days",
        _run,
        [
            Row(
                "audit-page",
                "warm page of 300 files with an audit of pages, too: server CPU",
                "µs/request",
                5.0,
                True,
                "difference",
                WITHOUT,
            ),
            Row(
                "audit-loop",
                "an answer, on the event loop: CPU",
                *("µs", 2.0, True, "value", None),
            ),
            Row(
                "audit-write",
                "an answer that is an event of its own, with its row: CPU",
                *("µs", None, True, "value", None),
            ),
            Row(
                "audit-ask",
                f"waystation audit {' '.join(ASKED)}: time",
                *("s", 1.0, True, "value", None),
            ),
        ],
    ),
)
