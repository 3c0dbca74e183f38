"""Scenario: what ten policies, one of each kind, cost a warm page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.agents import UV
from benchmarks.clients import get
from benchmarks.judging import KINDS
from benchmarks.load import drive
from benchmarks.measures import OURS, Row
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project
from tests.support.advisories import osv, write_folder

WITHOUT = "without policies"
NOT_PLAIN = {"Upgrade": "none"}
"""Such a request passes the fast path by."""


def _run(context: Context) -> None:
    with fake_upstream(context.folder("upstream")) as upstream:
        for _ in context.each_round():
            _warm(context, upstream.url, WITHOUT, {})
            _warm(context, upstream.url, OURS, KINDS)


def _warm(context: Context, upstream: str, contender: str, policies: Mapping[str, Any]) -> None:
    """No policy refuses a file of this page, so that the pages are equal."""
    name = project(min(300, context.sizes.pages[-1]))
    folder = context.folder("policies")
    config = _config(folder, f"{upstream}/simple/", name, policies)
    with waystation(folder, upstream, settings=LASTING, config=config) as ours:
        get(f"{ours.url}/simple/{name}/", UV)
        ours.wait_idle(context.sizes.rest)
        for key, headers in (("fast", UV), ("slow", UV | NOT_PLAIN)):
            context.calm()
            load = drive(ours, f"/simple/{name}/", headers, seconds=context.sizes.seconds)
            context.record(f"policies-{key}", contender, load.cpu)


def _config(folder: Path, url: str, name: str, policies: Mapping[str, Any]) -> Path:
    path = folder / "waystation.toml"
    records = write_folder(folder / "osv", osv("GHSA-1", name, versions=["999"]))
    tables = {
        "indexes": {"main": {"kind": "mirror", "url": url, "policies": list(policies)}},
        "policies": KINDS,
        "advisories": {"source": str(records)},
    }
    path.write_text(tomli_w.dumps(tables))
    return path


SCENARIOS = (
    Scenario(
        "policies",
        "warm page of 300 files under ten policies, and without any",
        _run,
        [
            Row(
                f"policies-{key}",
                f"page of 300 files under ten policies, {path}: server CPU",
                "µs/request",
                1.3,
                True,
                against=WITHOUT,
            )
            for key, path in (("fast", "fast path"), ("slow", "handlers"))
        ],
    ),
)
