"""The contract of ``Policy``, run over every kind, as the settings make them, and over fakes."""

from __future__ import annotations

import asyncio
import hashlib
import math
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from proxy.composition.policies import Epoch, Knowledge, as_of
from proxy.composition.policy_rules import RULES, build_policy
from proxy.config import load_settings
from proxy.errors import Denied, IndexUnavailable, NoSuchProject, PrivateNameWithheld
from proxy.facts import AttestationVerifier, DecisionFacts, LicenceFacts, ProvenanceFacts
from proxy.indexes import Judged
from proxy.model import File, ProjectName, ProjectPage, ProjectStatus, with_distributions
from proxy.model.siblings import SIBLING_SUFFIXES
from proxy.policies import Decision, PageView, Policy, Proof, Reserved, Verdict, Withheld
from proxy.policies import parse_names as parsed
from proxy.storage.in_memory import MemoryRecords
from proxy.storage.keys import Key, RecordKind
from tests.support.advisories import osv
from tests.support.judging import NOW, judge_listed
from tests.support.policies import Cooldown, Exempt, FakePolicy, upload_time
from tests.support.rule_views import advisories_of

ROOT = Path(__file__).parents[2]
DEMO, OTHER = ProjectName("demo"), ProjectName("other")
HOUR, DAY = 3600.0, 86400.0
PURE = "-py3-none-any.whl"
ALL_FACTS = "size(project) > 0 && size(release) > 0 && size(file) > 0"
"""A variable that is used as a whole has all of its facts."""


def withhold(project: ProjectName) -> None:
    if project == "withheld":
        raise PrivateNameWithheld(project)


POLICIES: Mapping[str, Mapping[str, Any] | Callable[[], Policy]] = {
    "Deny": {"kind": "deny", "versions": {"demo": "<1"}, "filenames": ["*.egg"]},
    "Deny, a project": {"kind": "deny", "projects": ["demo"], "show": "hide"},
    "Deny, exempted": {
        "kind": "deny",
        "versions": {"demo": ["<1", ">=2"]},
        "exempt": {
            "project": "demo",
            "version": "<1",
            "until": datetime.fromtimestamp(NOW + DAY, UTC),
        },
    },
    "Allow": {"kind": "allow", "versions": {"demo": ">=1"}, "digests": ["a" * 64]},
    "Files": {"kind": "files", "sdists": False, "legacy": False, "prereleases": False},
    "Files, of size and tags": {
        **{"kind": "files", "max_size": 100, "platforms": ["linux"], "pythons": ["3.12"]},
        "except_projects": ["other"],
    },
    "Files, latest": {"kind": "files", "latest": 1, "show": "yank"},
    "Cooldown": {"kind": "cooldown", "age": "3d"},
    "Cooldown, observed": {"kind": "cooldown", "age": "30d", "mode": "observe"},
    "Cooldown, first seen": {"kind": "cooldown", "age": "3d", "unknown": "first-seen"},
    "Cooldown, not locked": {"kind": "cooldown", "age": "3d", "locked": "allow"},
    "CooldownWithFixes": {"kind": "cooldown", "age": "3d", "security_fixes": True},
    "Status": {"kind": "status", "refuse": ["archived"]},
    "Malware": {"kind": "malware"},
    "KnownFaults": {"kind": "advisories", "severity": "high", "unknown": "refuse"},
    "Expression": {
        "kind": "expression",
        "refuse": "has(file.size) && file.size > 100",
    },
    "Expression, of ages": {
        "kind": "expression",
        "refuse": 'has(file.age) && file.age < duration("72h")',
    },
    "Expression, of all facts": {"kind": "expression", "refuse": ALL_FACTS},
    "Licences": {"kind": "licence", "allow": ["MIT"], "unknown": "refuse"},
    "Decided": {"kind": "hook", "url": "https://example.com/", "scope": "page"},
    "Decided, unknown": {"kind": "hook", "url": "https://example.com/", "unknown": "refuse"},
    "Provenance": {"kind": "provenance"},
    "Provenance, unchanged": {"kind": "provenance", "require": "unchanged"},
    "Provenance, pinned": {
        **{"kind": "provenance", "require": "pinned"},
        "pinned": {"demo": ["github:demo/demo:release.yml"]},
    },
    "AsOf": lambda: as_of(NOW - 30 * DAY),
    "Reserved": lambda: Reserved(["corp-*"]),
    "Withheld": lambda: Withheld(withhold),
    "FakePolicy": lambda: FakePolicy(lambda file: file.filename.endswith(".egg")),
    "FakePolicy, exempting": lambda: FakePolicy(lambda file: True, exemption="approved"),
    "Cooldown, of tests": lambda: Cooldown(3 * DAY),
    "Exempt": lambda: Exempt(NOW + DAY),
}
CHANGING = [
    *("Cooldown", "Cooldown, observed", "Cooldown, of tests", "CooldownWithFixes", "Exempt"),
    *("Deny, exempted", "Expression, of ages"),
]
"""Their verdicts depend on the time and on nothing else that changes."""


def file(name: str, age: float | None, size: int | None = None, **fields: Any) -> File:
    hashes = {"sha256": hashlib.sha256(name.encode()).hexdigest()}
    uploaded = None if age is None else upload_time(NOW - age)
    return File(name, f"https://example.com/{name}", hashes, size, uploaded=uploaded, **fields)


def proved(name: str, age: float, **fields: Any) -> File:
    return file(name, age, 100, provenance="https://example.com/provenance", **fields)


PAGE = ProjectPage(
    DEMO,
    (
        proved(f"demo-0.8{PURE}", 200 * DAY),
        proved(f"demo-0.9{PURE}", 100 * DAY),
        file("demo-0.9.zip", 100 * DAY, 7000),
        file("demo-0.9-py2.7.egg", None),
        proved(f"demo-1.0{PURE}", 60 * DAY, metadata=True),
        file(f"demo-1.0{PURE}.metadata", 60 * DAY),
        file("demo-1.0.tar.gz", 60 * DAY, 5000, beside=(".asc",)),
        file("demo-1.0.tar.gz.provenance", 60 * DAY),
        file("demo-1.1rc1-cp310-cp310-win_amd64.whl", 20 * DAY, 100),
        proved(f"demo-2.0{PURE}", DAY),
        file(f"demo-2.0{PURE}.metadata", HOUR),
        file("demo-2.0.tar.gz", 2 * HOUR, 5000),
    ),
    ("0.8", "0.9", "1.0", "1.1rc1", "2.0"),
    ProjectStatus("archived", "it is\nfinished"),
    source="main",
    version="1",
    first_seen={"demo-0.9-py2.7.egg": NOW - DAY},
)
NAMES = (
    *("", "-", ".whl", "demo", "demo-.tar.gz", "demo--py3-none-any.whl", "../demo-1.0.tar.gz"),
    *("demo-1.0-py3-none-any.whl.metadata", ".metadata", "demo-1.0.tar.gz.asc.provenance"),
    *("demo-banana.zip", f"demo-{'1' * 5000}.tar.gz", f"demo-1.0-{'.'.join('ab' * 99)}-a-b.whl"),
    *("demo-1.0\r\nX: y.tar.gz", "demo-1.0\0.tar.gz", "d\N{EM DASH}.zip"),
    *("demo-1.0-0-py3---none-any.whl", "demo-1!2.post3.dev4+a.b-py3-none-any.whl", "*?[.zip"),
)
TIMES = (None, "0002-01-01T00:00:00Z", "9998-12-31T23:59:59.999999Z", upload_time(NOW + 999))


def hostile_page(uploaded: str | None) -> ProjectPage:
    """Names of all kinds, each with facts and without."""
    bare = [File(name, "", uploaded=uploaded) for name in NAMES]
    sized = [
        File(
            *(f"{name}x", "file:///\0", {"sha256": "", "md5": "\n"}, (2**63 - 1) * (at % 2)),
            requires_python=name,
            uploaded=uploaded,
            yanked=name,
            metadata={"sha256": "?"},
            provenance=name,
        )
        for at, name in enumerate(NAMES)
    ]
    status = ProjectStatus("archived", "\r\nX: y")
    return ProjectPage(DEMO, (*bare, *sized), NAMES, status, first_seen={NAMES[0]: math.inf})


class UnaskedService:
    """The service of a hook: no policy asks while it judges."""

    async def post(self, body: bytes, headers: dict[str, str]) -> bytes:
        raise AssertionError("a policy has asked a service")


async def knowledge() -> Knowledge:
    """What policies know beside the page, for files of ``PAGE``."""
    records = MemoryRecords()
    wheels = [each.sha256 for each in PAGE.files if each.provenance]
    publisher = ("github:demo/demo:release.yml", "1")
    stored: dict[Key, object] = {
        Key(RecordKind.LICENCES, DEMO): dict(
            zip(wheels, ["MIT", "GPL-3.0-only", ""], strict=False)
        ),
        Key(RecordKind.DECISIONS, "hook", DEMO): {
            wheels[0]: Decision("allow", "", NOW + HOUR),
            wheels[1]: Decision("refuse", "bad\nlicence", NOW + DAY),
            wheels[2]: Decision("unknown", "", NOW - DAY),
        },
        Key(RecordKind.PROOFS, DEMO): {
            wheels[0]: Proof("valid", "", *publisher, NOW + DAY),
            wheels[1]: Proof("unknown", "they are unavailable", until=NOW - DAY),
            wheels[2]: Proof("invalid", "another file is signed"),
            wheels[3]: Proof("valid", "", "github:eve/demo:release.yml", "2"),
        },
    }
    for key, value in stored.items():
        await records.put(key, msgspec.msgpack.encode(value))
    provenance = ProvenanceFacts(
        AttestationVerifier(None), records, print, timeout=1.0, clock=lambda: NOW
    )
    decisions = DecisionFacts(
        *(UnaskedService(), records, print, print), key="hook", ttl=HOUR, clock=lambda: NOW
    )
    malicious = osv("MAL-1", DEMO, versions=["0.9"])
    faulty = osv(
        *("GHSA-1", DEMO),
        versions=[],
        events=[{"introduced": "0"}, {"fixed": "2.0"}],
        database_specific={"severity": "HIGH"},
    )
    return Knowledge(
        Epoch(print),
        lambda: NOW,
        advisories_of(malicious, faulty).about,
        LicenceFacts(records, print, lambda: NOW),
        lambda table: decisions,
        provenance,
    )


async def opened(name: str) -> Policy:
    row = POLICIES[name]
    if callable(row):
        return row()
    exempt = [{"policy": ["p0"], "reason": "approved", **row["exempt"]}] if "exempt" in row else []
    table = {key: value for key, value in row.items() if key != "exempt"}
    needed = {"advisories": {"source": "/advisories"}, "exempt": exempt}
    settings = load_settings({"policies": {"p0": table}, **needed}).settings
    policy = build_policy("p0", settings.policies["p0"], settings.exempt, await knowledge())
    if policy.facts:
        await policy.facts.load(DEMO)
    return policy


@pytest.fixture(params=POLICIES)
async def policy(request: pytest.FixtureRequest) -> Policy:
    return await opened(request.param)


def judged(policy: Policy, page: ProjectPage, now: float = NOW) -> list[tuple[int, Verdict]]:
    """The verdicts, each of which is as ``Verdict`` says."""
    found = list(policy.judge(PageView(page, now, parsed(page))))
    for position, verdict in found:
        assert position in range(len(page.files))
        assert verdict.rule == policy.name
        assert verdict.until is None or verdict.until > now
        assert verdict.reason.isprintable()
        assert verdict.reason or not verdict.refuses
        if verdict.refuses:
            assert not verdict.exemption
        else:
            assert verdict.exemption or verdict.until is not None
    return found


def test_every_kind_is_in_the_table() -> None:
    """A rule or policy of ours, each kind of the settings, and the fakes of tests."""
    modules = [*(ROOT / "proxy").rglob("*.py"), *(ROOT / "tests/support").rglob("*.py")]
    text = "\n".join(path.read_text(encoding="utf-8") for path in modules)
    bases = dict(re.findall(r"^class (\w+)\((\w+)\):", text, re.MULTILINE))
    names = {"Policy", "Rule"}
    while found := {name for name, base in bases.items() if base in names} - names:
        names |= found
    kinds = {row["kind"] for row in POLICIES.values() if isinstance(row, Mapping)}
    assert RULES.keys() - kinds == set()
    assert names - {"Policy", "Rule", "ConfiguredPolicy"} == {
        name.partition(",")[0] for name in POLICIES
    }


async def test_a_policy_that_judges_files_has_verdicts_with_rule_and_reason(policy: Policy) -> None:
    assert bool(judged(policy, PAGE)) is policy.judges_files


async def test_judging_changes_no_page_and_gives_the_same_again(policy: Policy) -> None:
    view = PageView(PAGE, NOW, parsed(PAGE))
    before = repr(view)
    first = list(policy.judge(view))
    assert repr(view) == before
    threads = (asyncio.to_thread(lambda: list(policy.judge(view))) for _ in range(3))
    assert await asyncio.gather(*threads) == [first] * 3


def brief(verdicts: list[tuple[int, Verdict]]) -> list[tuple[int, bool, str]]:
    """Without those that only say until when."""
    return sorted(
        (position, each.refuses, each.exemption)
        for position, each in verdicts
        if each.refuses or each.exemption
    )


async def test_verdicts_hold_until_the_earliest_instant(policy: Policy) -> None:
    for now in (NOW, NOW + 2 * HOUR, NOW + 2 * DAY, NOW + 999 * DAY):
        found = judged(policy, PAGE, now)
        end = min((each.until for _, each in found if each.until), default=now + 9 * DAY)
        assert brief(judged(policy, PAGE, max(now, end - 0.001))) == brief(found)


@pytest.mark.parametrize("name", CHANGING)
async def test_at_that_instant_a_verdict_of_time_is_another(name: str) -> None:
    policy = await opened(name)
    found = judged(policy, PAGE)
    end = min(each.until for _, each in found if each.until)
    assert brief(judged(policy, PAGE, end)) != brief(found)


async def test_a_sibling_is_judged_as_its_distribution(policy: Policy) -> None:
    result = judge_listed(PAGE, [policy], parsed(PAGE))
    looks = {each.filename: bool(each.yanked) for each in result.page.files}
    for name in (each.filename for each in PAGE.files):
        *_, owner = with_distributions(name)
        assert looks.get(name) == looks.get(owner)
        siblings = [owner + suffix for suffix in SIBLING_SUFFIXES]
        for digest in (None, "a" * 64, f"md5-{'a' * 32}"):
            refused = {is_refused(result, each, digest) for each in siblings if each not in looks}
            assert refused <= {is_refused(result, owner, digest)}


def is_refused(result: Judged, filename: str, digest: str | None) -> bool:
    try:
        result.check(filename, digest)
    except Denied:
        return True
    return False


async def test_an_empty_page_has_no_verdicts(policy: Policy) -> None:
    for status in (None, PAGE.status):
        assert judged(policy, ProjectPage(DEMO, (), status=status)) == []


async def test_hostile_pages_are_judged(policy: Policy) -> None:
    for uploaded in TIMES:
        for now in (0.0, NOW):
            judged(policy, hostile_page(uploaded), now)


async def test_a_project_that_a_policy_does_not_concern_has_no_verdicts(policy: Policy) -> None:
    page = msgspec.structs.replace(PAGE, project=OTHER)
    assert policy.concerns(OTHER) or judged(policy, page) == []


async def test_a_project_is_refused_by_one_of_three_errors(policy: Policy) -> None:
    for project in map(ProjectName, ("demo", "other", "corp-x", "withheld", "banned")):
        with suppress(NoSuchProject, Denied, IndexUnavailable):
            policy.admit(project)
            continue
        assert policy.judges_projects
        assert policy.concerns(project)
