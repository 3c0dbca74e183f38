"""Scenario: how long judging a large page takes under a policy of each kind, and an expression.

What the policies know of files is in memory, as it is once tasks have collected it.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from benchmarks.measures import OURS, Row
from benchmarks.scenario import FULL, Context, Scenario
from proxy.advisories import Advisories
from proxy.advisories.osv import read_record
from proxy.composition.policies import Epoch, Knowledge
from proxy.composition.policy_rules import build_policy
from proxy.config import load_settings
from proxy.facts import (
    AttestationVerifier,
    DecisionFacts,
    LicenceFacts,
    ProvenanceFacts,
    StoredFacts,
)
from proxy.indexes import Guarded
from proxy.model import File, ProjectPage, Sha256, normalize
from proxy.policies import Decision, ParsedPages, Policy, Proof, parse_names
from proxy.storage import RecordKind
from proxy.storage.in_memory import MemoryRecords
from tests.support.advisories import osv
from tests.support.fake_index import FakeIndex
from tests.support.judging import NOW
from tests.support.policies import upload_time

KINDS: dict[str, dict[str, Any]] = {
    "banned": {
        **{"kind": "deny", "projects": ["colourama"], "filenames": ["*-helper-*"]},
        **{"versions": {"litellm": ["==1.82.7"], "demo": "==1.2.3"}, "digests": ["0" * 64]},
    },
    "approved": {"kind": "allow", "versions": {"*": ">=0"}},
    "wheels": {
        **{"kind": "files", "legacy": False, "prereleases": False, "max_size": "1GB"},
        **{"platforms": ["linux", "macos"], "pythons": ["3.11", "3.12"], "latest": 400},
    },
    "week": {"kind": "cooldown", "age": "7d"},
    "living": {"kind": "status", "refuse": ["archived"]},
    "malware": {"kind": "malware"},
    "holes": {"kind": "advisories", "severity": "critical"},
    "publisher": {"kind": "provenance", "require": "unchanged"},
    "licences": {"kind": "licence", "deny": ["AGPL-3.0-only", "AGPL-3.0-or-later"]},
    "reviewed": {"kind": "hook", "url": "http://127.0.0.1:1/"},
}
"""A policy of each kind but ``expression``."""
EXPRESSION = 'file.age < duration("72h") && file.size > 5000 && project.name != "other"'
TAGS = (
    *("cp311-cp311-manylinux_2_17_x86_64", "cp311-cp311-macosx_11_0_arm64"),
    *("cp312-cp312-manylinux_2_17_x86_64", "cp312-cp312-win_amd64", "py3-none-any"),
)
DEMO = normalize("demo")


def _run(context: Context) -> None:
    page = _page(context.sizes.pages[-1])
    ready = asyncio.run(_policies(page, KINDS))
    condition = {"condition": {"kind": "expression", "refuse": EXPRESSION}}
    expression = asyncio.run(_policies(page, condition))
    for _ in context.each_round():
        context.calm()
        began = time.process_time()
        parsed = parse_names(page)
        context.record("judging-parse", OURS, (time.process_time() - began) * 1000)
        for row, policies, unit in (
            ("judging-kinds", ready, 1e3),
            ("judging-expression", expression, 1e6 / len(page.files)),
        ):
            pages = ParsedPages()
            pages.put(page, parsed)
            guarded = Guarded(FakeIndex("main"), policies, lambda: NOW, parsed_pages=pages)
            began = time.process_time()
            asyncio.run(guarded.judge(page))
            context.record(row, OURS, (time.process_time() - began) * unit)


def _page(files: int) -> ProjectPage:
    """As many wheels and sdists, three days between two versions."""
    listed: list[File] = []
    versions = max(1, files // 10)
    for number in range(versions):
        version = f"{number // 100}.{number // 10 % 10}.{number % 10}"
        names = [f"demo-{version}-{build}-{tag}.whl" for build in (1, 2) for tag in TAGS]
        uploaded = upload_time(NOW - 3 * 86400 * (versions - number))
        for name in [*names[:9], f"demo-{version}.tar.gz"]:
            digest = Sha256(f"{len(listed):064x}")
            listed.append(
                File(name, "", digest, 1000, uploaded=uploaded, provenance="https://example.com/p")
            )
    return ProjectPage(DEMO, tuple(listed), source="main", version="1")


async def _policies(page: ProjectPage, tables: Mapping[str, Any]) -> list[Policy]:
    """Built from their tables, with all facts of the page in memory."""
    given = {"policies": tables, "advisories": {"source": "https://example.com/all.zip"}}
    settings = load_settings(given).settings
    knowledge = await _knowledge([file.sha256 or "" for file in page.files])
    return [build_policy(*each, (), knowledge) for each in settings.policies.items()]


async def _knowledge(digests: Sequence[str]) -> Knowledge:
    records = MemoryRecords()

    def clock() -> float:
        return NOW

    def changed(projects: object) -> None:
        pass

    licences = LicenceFacts(records, changed, clock)
    decisions = DecisionFacts(_NoService(), records, changed, changed, key="k", ttl=1, clock=clock)
    verifier = AttestationVerifier(None)
    proofs = ProvenanceFacts(verifier, records, changed, timeout=1.0, clock=clock)
    allowed = Decision("allow", "", NOW + 3600)
    proof = Proof("valid", "", "github:example/demo:release.yml", "github:1:2")
    for kind, fact, prefix in (
        (RecordKind.LICENCES, "MIT OR Apache-2.0", ""),
        (RecordKind.DECISIONS, allowed, "k/"),
        (RecordKind.PROOFS, proof, ""),
    ):
        stored: StoredFacts[Any] = StoredFacts(records, kind, type(fact), clock)
        await stored.add(DEMO, {f"{prefix}{digest}": fact for digest in digests})
    loads: Sequence[Callable[[Any], Awaitable[object]]]
    loads = (licences.load, decisions.load, proofs.load)
    for load in loads:
        await load(DEMO)
    return Knowledge(
        *(Epoch(changed), clock, _advisories().about, licences, lambda table: decisions, proofs)
    )


def _advisories() -> Advisories:
    """As many as a large project has, of old versions, none of them malware."""
    ranges = [[{"introduced": "0"}, {"fixed": f"1.{minor}.0"}] for minor in range(10)]
    severe = [{"type": "CVSS_V3", "score": "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"}]
    records = [
        osv(f"GHSA-{number}", "demo", versions=[], events=events, severity=severe)
        for number, events in enumerate(ranges)
    ]
    return Advisories.of([read_record(json.dumps(each).encode()) for each in records])


class _NoService:
    async def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        raise AssertionError


SCENARIOS = (
    Scenario(
        "judging",
        f"judging {FULL.pages[-1]:,} files under a policy of each kind, and by an expression",
        _run,
        [
            Row(
                "judging-kinds",
                f"judging {FULL.pages[-1]:,} files under ten policies, one of each kind: CPU",
                "ms",
                40.0,
                True,
                "value",
                None,
            ),
            Row(
                "judging-expression",
                f"judging {FULL.pages[-1]:,} files by an expression: CPU",
                "µs/file",
                25.0,
                True,
                "value",
                None,
            ),
            Row(
                "judging-parse",
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
