"""Rules ``malware`` and ``advisories``: which releases they refuse, and in which words."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.advisories import BANDS
from proxy.model import File, ProjectPage, normalize
from proxy.policies import Condition, Expression, KnownFaults, Malware, PageView, parse_names
from tests.support.advisories import osv
from tests.support.rule_views import NOW, advisories_of, refused_by, view_of

BOTH = osv("MAL-1", severity=[{"type": "CVSS_V2", "score": "AV:N/AC:L/Au:N/C:C/I:C/A:C"}])
HIGH, CRITICAL = {"severity": "HIGH"}, {"severity": "CRITICAL"}


def malware(*records: dict[str, Any]) -> Malware:
    return Malware(advisories_of(*records).about)


def faults(*records: dict[str, Any], **options: Any) -> KnownFaults:
    options = {"lowest": BANDS["critical"]} | options
    return KnownFaults(advisories_of(*records).about, **options)


def test_malware_is_refused_by_version() -> None:
    rule = malware(osv("MAL-1", versions=["1.0"]), osv("GHSA-1", versions=["2.0"]))
    assert refused_by(rule, view_of("0.9", "1.0", "2.0")) == {"1.0": "aaa 1.0 is malware: MAL-1"}


def test_aliases_of_malware_are_malware() -> None:
    rule = malware(
        osv("MAL-1", versions=["1.0"], aliases=["GHSA-1"]), osv("GHSA-1", versions=["2.0"])
    )
    assert refused_by(rule, view_of("1.0", "2.0", "3.0")).keys() == {"1.0", "2.0"}


def test_a_project_that_is_malware_offers_nothing() -> None:
    rule = malware(osv("MAL-1", versions=[], events=[{"introduced": "0"}]))
    assert refused_by(rule, view_of("0.1", "1.0", "1!0")).keys() == {"0.1", "1.0", "1!0"}


def test_pages_of_local_directories_are_about_other_projects() -> None:
    view = view_of("1.0", url="file:///packages/aaa")
    assert refused_by(malware(osv("MAL-1")), view) == {}
    assert refused_by(faults(osv(database_specific=CRITICAL), only_if_fixed=False), view) == {}


def test_of_a_merged_page_only_the_files_of_upstream_are_judged() -> None:
    files = (
        File("aaa-1.0-py3-none-any.whl", "file:///packages/aaa-1.0-py3-none-any.whl"),
        File("aaa-1.0.tar.gz", "https://example.com/aaa-1.0.tar.gz"),
    )
    page = ProjectPage(normalize("aaa"), files, source="private+world")
    view = PageView(page, NOW, parse_names(page))
    for rule in (
        malware(osv("MAL-1")),
        faults(osv(database_specific=CRITICAL), only_if_fixed=False),
        Expression(Condition("file.severity > 9.0 || release.malware"), advisories_of(BOTH).about),
    ):
        refusals = [each for each in rule.judge(view) if each.refuses]
        assert [list(each.files) for each in refusals] == [[1]]


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        ({}, {"1.0"}),
        ({"lowest": BANDS["high"]}, {"1.0", "2.0"}),
        ({"lowest": None}, set()),
        ({"lowest": None, "refused": ["CVE-2"]}, {"2.0"}),
        ({"refused": ["GHSA-3"]}, {"1.0", "3.0"}),
        ({"refuses_unknown": True}, {"1.0", "3.0"}),
        ({"ignored": ["CVE-1"]}, set()),
        ({"ignored": ["GHSA-1"]}, set()),
        ({"ignored": ["CVE-1"], "refused": ["CVE-1"]}, set()),
    ],
)
def test_faults_are_refused_from_a_severity_on(options: dict[str, Any], refused: set[str]) -> None:
    rule = faults(
        osv("GHSA-1", versions=["1.0"], aliases=["CVE-1"], database_specific=CRITICAL),
        osv("GHSA-2", versions=["2.0"], aliases=["CVE-2"], database_specific=HIGH),
        osv("GHSA-3", versions=["3.0"]),
        **options,
    )
    assert refused_by(rule, view_of("1.0", "2.0", "3.0", "4.0")).keys() == refused


def test_an_alias_of_an_alias_is_ignored_too() -> None:
    rule = faults(
        osv("PYSEC-1", aliases=["CVE-1"], database_specific=CRITICAL),
        osv("GHSA-1", aliases=["CVE-1"], database_specific=CRITICAL),
        ignored=["PYSEC-1"],
    )
    assert refused_by(rule, view_of("1.0", "2.0")) == {}


def test_the_reason_names_the_worst_fault_and_counts_twins_once() -> None:
    rule = faults(
        osv("PYSEC-1", aliases=["CVE-1"]),
        osv("GHSA-1", aliases=["CVE-1"], database_specific=HIGH),
        osv("GHSA-2", database_specific=CRITICAL),
        osv("GHSA-3"),
        lowest=0.0,
        refuses_unknown=True,
    )
    reasons = refused_by(rule, view_of("1.0", "2.0"))
    assert reasons == {"1.0": "aaa 1.0 has GHSA-2 (critical, 9.0) and 2 more"}


@pytest.mark.parametrize(
    ("versions", "options", "refused"),
    [
        (["1.0", "2.0"], {}, {"1.0"}),
        (["1.0"], {}, set()),
        (["1.0", "2.0rc1"], {}, set()),
        (["1.0", "2.0"], {"refused": ["2.0"]}, set()),
        (["1.0", "2.0"], {"files": {"2.0": {"yanked": True}}}, set()),
        (["0.9", "1.0"], {}, {"1.0"}),
    ],
)
def test_nothing_is_refused_where_no_release_is_without_the_fault(
    versions: list[str], options: dict[str, Any], refused: set[str]
) -> None:
    record = osv(versions=["1.0"], database_specific=CRITICAL)
    assert refused_by(faults(record), view_of(*versions, **options)).keys() == refused
    always = faults(record, only_if_fixed=False)
    assert refused_by(always, view_of(*versions, **options)).keys() == {"1.0"}


def test_a_prerelease_is_another_release_for_prereleases() -> None:
    record = osv(versions=["2.0rc1"], database_specific=CRITICAL)
    assert refused_by(faults(record), view_of("2.0rc1", "2.0rc2")).keys() == {"2.0rc1"}
