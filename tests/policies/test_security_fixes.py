"""A cooldown lets one release pass: the smallest that fixes what would be installed otherwise."""

from __future__ import annotations

from typing import Any

import pytest
from packaging.version import Version

from proxy.policies import Cooldown, CooldownWithFixes, Finding, FixCriteria, fixes
from tests.support.advisories import osv
from tests.support.rule_views import NOW, advisories_of, refused_by, view_of

DAY = 86400.0


def fault(name: str = "GHSA-1", text: str = "introduced 0, fixed 2.9.4", **fields: Any) -> Any:
    """A record whose ranges are separated by semicolons."""
    record = osv(name, versions=[], **fields)
    record["affected"][0]["ranges"] = [
        {
            "type": "ECOSYSTEM",
            "events": [dict([event.split()]) for event in each.split(", ")],
        }
        for each in text.split("; ")
    ]
    return record


MEDIUM = {"severity": "MODERATE"}


@pytest.mark.parametrize(
    ("passing", "waiting", "records", "options", "expected"),
    [
        # the fix, and never what is newer
        ("2.9.3", "2.9.4 2.9.5", [fault()], {}, "2.9.4"),
        ("2.9.3", "2.9.5", [fault()], {}, "2.9.5"),
        ("2.9.3", "2.9.5 2.9.6", [fault()], {}, "2.9.5"),
        # what passes already fixes it
        ("2.9.3 2.9.4", "2.9.5", [fault()], {}, ""),
        ("3.0", "2.9.4", [fault()], {}, ""),
        ("", "2.9.4", [fault()], {}, ""),
        # branches
        (
            "2.9.3 3.1.1",
            "2.9.4 3.1.2 3.2",
            [fault(text="introduced 2.0, fixed 2.9.4, introduced 3.0, fixed 3.1.2")],
            {},
            "2.9.4 3.1.2",
        ),
        (
            "2.9.3 3.1.1",
            "2.9.4 3.1.2 3.2",
            [fault(text="introduced 2.0, fixed 2.9.4; introduced 3.0, fixed 3.1.2")],
            {},
            "2.9.4 3.1.2",
        ),
        (
            "2.9.3",
            "3.1.2",
            [fault(text="introduced 2.0, fixed 2.9.4, introduced 3.0, fixed 3.1.2")],
            {},
            "",
        ),
        # last_affected says of no release that it is a fix
        ("2.9.3", "2.9.4", [fault(text="introduced 0, last_affected 2.9.3")], {}, ""),
        (
            "2.9.3",
            "2.9.4 2.9.5",
            [fault(text="introduced 0, last_affected 2.9.3")],
            {"trusts_last_affected": True},
            "2.9.4",
        ),
        ("2.9.3", "2.9.4", [fault(text="introduced 0, limit 2.9.4")], {}, ""),
        # the fix has another fault, or is malware
        ("2.9.3", "2.9.4", [fault(), fault("GHSA-2", "introduced 2.9.4, fixed 3.0")], {}, ""),
        ("2.9.3", "2.9.4", [fault(), osv("MAL-1", versions=["2.9.4"])], {"lowest": 9.0}, ""),
        (
            "2.9.3",
            "2.9.4 2.9.5",
            [fault(), fault("GHSA-2", "introduced 0, fixed 2.9.5")],
            {},
            "2.9.5",
        ),
        # which advisories count
        ("2.9.3", "2.9.4", [osv("MAL-1", versions=[], events=[{"introduced": "0"}])], {}, ""),
        ("2.9.3", "2.9.4", [fault("OSV-1")], {}, ""),
        ("2.9.3", "2.9.4", [fault("PYSEC-1")], {}, "2.9.4"),
        ("2.9.3", "2.9.4", [fault("PYSEC-1")], {"databases": frozenset({"GHSA"})}, ""),
        ("2.9.3", "2.9.4", [fault(database_specific=MEDIUM)], {"lowest": 7.0}, ""),
        ("2.9.3", "2.9.4", [fault(database_specific=MEDIUM)], {"lowest": 4.0}, "2.9.4"),
        ("2.9.3", "2.9.4", [fault()], {"lowest": 9.0}, "2.9.4"),
        ("2.9.3", "2.9.4", [fault(withdrawn="2026-01-01T00:00:00Z")], {}, ""),
        # pre-releases, locals, epochs
        ("2.9.3", "2.9.4rc1 2.9.4", [fault()], {}, "2.9.4"),
        ("2.9.3", "2.9.5rc1 2.9.5", [fault()], {}, "2.9.5"),
        ("2.9.3rc1", "2.9.4rc1", [fault(text="introduced 0, fixed 2.9.4rc1")], {}, "2.9.4rc1"),
        ("2.9.3+cu121", "2.9.4+cu121", [fault()], {}, "2.9.4+cu121"),
        ("1!1.0", "1!2.0", [fault(text="introduced 1!0, fixed 1!2.0")], {}, "1!2.0"),
    ],
)
def test_which_waiting_versions_pass(
    passing: str, waiting: str, records: list[Any], options: dict[str, Any], expected: str
) -> None:
    found = fixes(
        [Version(each) for each in passing.split()],
        [Version(each) for each in waiting.split()],
        advisories_of(*records).about("aaa"),  # type: ignore[arg-type]
        FixCriteria(**options),
    )
    assert sorted(map(str, found)) == sorted(expected.split())


def rule(*records: Any, **options: Any) -> CooldownWithFixes:
    return CooldownWithFixes(
        Cooldown(7 * DAY),
        7 * DAY,
        advisories_of(*records).about,
        FixCriteria(**options),
    )


def aged(**ages: float) -> dict[str, dict[str, str]]:
    """Upload times by version (``v2_9_4``), from ages in seconds."""
    from datetime import UTC, datetime

    return {
        name[1:].replace("_", "."): {
            "uploaded": datetime.fromtimestamp(NOW - age, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        }
        for name, age in ages.items()
    }


FILES = aged(v2_9_3=30 * DAY, v2_9_4=3600, v2_9_5=3600)


def test_of_two_young_releases_only_the_fix_passes() -> None:
    view = view_of("2.9.3", "2.9.4", "2.9.5", files=FILES)
    assert refused_by(rule(fault()), view).keys() == {"2.9.5"}
    (passed,) = [each for each in rule(fault()).judge(view) if not each.refuses]
    assert passed.exemption == "fixes GHSA-1 of 2.9.3"
    assert refused_by(rule(), view).keys() == {"2.9.4", "2.9.5"}


def test_a_fix_that_another_rule_refuses_does_not_pass_and_nor_does_the_next() -> None:
    view = view_of("2.9.3", "2.9.4", "2.9.5", files=FILES, refused=["2.9.3"])
    assert refused_by(rule(fault()), view).keys() == {"2.9.4", "2.9.5"}


def test_a_local_project_of_that_name_has_no_fixes() -> None:
    view = view_of("2.9.3", "2.9.4", files=FILES, url="file:///packages/aaa")
    assert refused_by(rule(fault()), view).keys() == {"2.9.4"}


def test_a_fix_may_have_to_be_of_an_age() -> None:
    view = view_of("2.9.3", "2.9.4", files=FILES)
    (finding,) = rule(fault(), min_age=7200.0).judge(view)
    assert (finding.refuses, finding.until) == (True, NOW + 3600)
    (finding,) = rule(fault(), min_age=3600.0).judge(view)
    assert not finding.refuses


def test_a_fix_of_unknown_age_passes_only_if_no_age_is_asked() -> None:
    view = view_of("2.9.3", "2.9.4", files=aged(v2_9_3=30 * DAY))
    assert refused_by(rule(fault()), view) == {}
    assert refused_by(rule(fault(), min_age=1.0), view).keys() == {"2.9.4"}


def test_later_files_of_a_release_that_passes_still_wait() -> None:
    view = view_of("2.9.4", "2.9.5", files=aged(v2_9_4=30 * DAY, v2_9_5=3600))
    findings: list[Finding] = list(rule(fault()).judge(view))
    assert [each.refuses for each in findings] == [True]
