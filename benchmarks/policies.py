"""Scenarios: what ten policies cost a warm page, and how long judging a large page takes."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import tomli_w

from benchmarks.agents import UV
from benchmarks.clients import get
from benchmarks.load import drive
from benchmarks.measures import OURS, Row
from benchmarks.scenario import FULL, Context, Scenario
from benchmarks.servers import fake_upstream, waystation
from benchmarks.static_copy import LASTING
from benchmarks.synthetic_projects import project
from proxy.model import File, ProjectPage, normalize
from proxy.policies import parse_names
from tests.support.judging import NOW, judge_listed, policies_of
from tests.support.policies import upload_time

WITHOUT = "without policies"
TABLES: dict[str, dict[str, Any]] = {
    "banned": {"kind": "deny", "versions": {"litellm": ["==1.82.7", "==1.82.8"]}},
    "squatters": {"kind": "deny", "projects": ["colourama"], "filenames": ["*-helper-*"]},
    "bytes": {"kind": "deny", "digests": ["0" * 64]},
    "approved": {"kind": "allow", "projects": ["*"]},
    "wheels": {"kind": "files", "sdists": False},
    "platforms": {"kind": "files", "platforms": ["linux", "macos"], "pythons": ["3.11", "3.12"]},
    "newest": {"kind": "files", "latest": 400, "prereleases": False},
    "week": {"kind": "cooldown", "age": "7d"},
    "living": {"kind": "status", "refuse": ["archived"]},
    "month": {"kind": "cooldown", "age": "30d", "mode": "observe"},
}
NOT_PLAIN = {"Upgrade": "none"}
"""Such a request passes the fast path by."""
TAGS = (
    *("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-macosx_11_0_arm64"),
    *("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-win_amd64", "py3-none-any"),
)


def _run(context: Context) -> None:
    page = _page(context.sizes.pages[-1])
    with fake_upstream(context.folder("upstream")) as upstream:
        for _ in context.each_round():
            _warm(context, upstream.url, WITHOUT, [])
            _warm(context, upstream.url, OURS, list(TABLES))
            _judge(context, page)


def _warm(context: Context, upstream: str, contender: str, policies: list[str]) -> None:
    """No policy refuses a file of this page, so that the pages are equal."""
    path = f"/simple/{project(min(300, context.sizes.pages[-1]))}/"
    folder = context.folder("policies")
    config = _config(folder, f"{upstream}/simple/", policies)
    with waystation(folder, upstream, settings=LASTING, config=config) as ours:
        get(ours.url + path, UV)
        ours.wait_idle(context.sizes.rest)
        for key, headers in (("fast", UV), ("slow", UV | NOT_PLAIN)):
            context.calm()
            load = drive(ours, path, headers, seconds=context.sizes.seconds)
            context.record(f"policies-{key}", contender, load.cpu)


def _config(folder: Path, url: str, policies: list[str]) -> Path:
    path = folder / "waystation.toml"
    index = {"kind": "mirror", "url": url, "policies": policies}
    path.write_text(tomli_w.dumps({"indexes": {"main": index}, "policies": TABLES}))
    return path


def _judge(context: Context, page: ProjectPage) -> None:
    policies = policies_of(*TABLES.values())
    context.calm()
    began = time.process_time()
    parsed = parse_names(page)
    context.record("policies-parse", OURS, (time.process_time() - began) * 1000)
    began = time.process_time()
    judge_listed(page, policies, parsed)
    context.record("policies-judge", OURS, (time.process_time() - began) * 1000)


def _page(files: int) -> ProjectPage:
    """As many wheels and sdists, three days between two versions."""
    listed = []
    for number in range(files // 10):
        version = f"{number // 100}.{number // 10 % 10}.{number % 10}"
        names = [f"demo-{version}-{build}-{tag}.whl" for build in (1, 2) for tag in TAGS]
        time_ = upload_time(NOW - 3 * 86400 * (files // 10 - number))
        for name in [*names[:9], f"demo-{version}.tar.gz"]:
            listed.append(File(name, "", {"sha256": "a" * 64}, size=1000, uploaded=time_))
    return ProjectPage(normalize("demo"), tuple(listed), source="main", version="1")


SCENARIOS = (
    Scenario(
        "policies",
        "warm page of 300 files under ten policies, and without any; judging 10,000 files",
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
        ]
        + [
            Row(
                "policies-judge",
                f"judging {FULL.pages[-1]:,} files under ten policies: CPU",
                "ms",
                40.0,
                True,
                "value",
                None,
            ),
            Row(
                "policies-parse",
                f"parsing the names of {FULL.pages[-1]:,} files, once: CPU",
                "ms",
                None,
                True,
                "value",
                None,
            ),
        ],
    ),
)
