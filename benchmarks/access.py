"""Scenario: what controlled access costs a warm page, also where clients ask first without."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

import tomli_w

from benchmarks.agents import UV
from benchmarks.clients import get
from benchmarks.load import drive, drive_in_turn
from benchmarks.measures import OURS, Row
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project
from proxy.access import TokenStore
from tests.support.access import add_token, basic

WITHOUT = "without access control"
TOKENS = 1000


def _run(context: Context) -> None:
    with fake_upstream(context.folder("upstream")) as upstream:
        for _ in context.each_round():
            _warm(context, upstream.url, WITHOUT, {})
            _warm(context, upstream.url, OURS, {"access": {}})


def _warm(context: Context, upstream: str, contender: str, table: Mapping[str, object]) -> None:
    path = f"/simple/{project(min(300, context.sizes.pages[-1]))}/"
    folder = context.folder("access")
    config = folder / "waystation.toml"
    index = {"kind": "mirror", "url": f"{upstream}/simple/"}
    config.write_text(tomli_w.dumps({"indexes": {"main": index}, **table}))
    users = _tokens(folder) if table else [UV] * TOKENS
    with waystation(folder, upstream, settings=LASTING, config=config) as ours:
        for headers in users:
            get(ours.url + path, headers)
        ours.wait_idle(context.sizes.rest)
        context.calm()
        load = drive(ours, path, users[0], seconds=context.sizes.seconds)
        context.record("access-token", contender, load.cpu)
        load = drive_in_turn(ours, path, users, seconds=context.sizes.seconds)
        context.record("access-tokens", contender, load.cpu)
        if table:
            load = drive_in_turn(
                ours, path, [UV, users[0]], seconds=context.sizes.seconds, refused=0.5
            )
        context.record("access-first-without", contender, load.cpu)


def _tokens(folder: Path) -> list[dict[str, str]]:
    """The headers of uv with each of many tokens."""
    (folder / "cache").mkdir()
    store = TokenStore(folder / "cache" / "tokens.sqlite")
    now = time.time()
    secrets = [add_token(store, f"ci-{at}", "read:main", now=now) for at in range(TOKENS)]
    store.close()
    return [UV | {"Authorization": basic(secret)} for secret in secrets]


def _row(key: str, work: str) -> Row:
    return Row(key, work, "µs/request", 1.2, True, "ratio", WITHOUT)


SCENARIOS = (
    Scenario(
        "access",
        "what controlled access costs a warm page",
        _run,
        [
            _row("access-token", "warm page of 300 files with a token: server CPU"),
            Row(
                "access-tokens",
                f"the same with {TOKENS:,} tokens in turn, each a line and an event: server CPU",
                *("µs/request", None, True, "ratio", WITHOUT),
            ),
            _row(
                "access-first-without",
                "an answer, where each page is first requested without credentials: server CPU",
            ),
        ],
    ),
)
