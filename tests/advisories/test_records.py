"""Reading OSV records, and merging records of one fault into one collection."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from proxy.advisories import Advisories, Advisory, band_of
from proxy.advisories.osv import Record, UnusableRecord, read_record
from proxy.model import normalize
from tests.support.advisories import osv

V3_CRITICAL = "CVSS:3.1/AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"  # 9.8
V3_MEDIUM = "CVSS:3.1/AV:N/AC:L/PR:N/UI:R/S:C/C:L/I:L/A:N"  # 6.1
V4_CRITICAL = "CVSS:4.0/AV:N/AC:L/AT:N/PR:N/UI:N/VC:H/VI:H/VA:H/SC:N/SI:N/SA:N"  # 9.3
V2_HIGH = "AV:N/AC:L/Au:N/C:P/I:P/A:P"  # 7.5


def read(**fields: Any) -> Record:
    return read_record(msgspec.json.encode(osv(**fields)))


def collection(*records: dict[str, Any]) -> Advisories:
    read_records = [read_record(msgspec.json.encode(each)) for each in records]
    return Advisories.decode(Advisories.of(read_records).encode())


def about(found: Advisories, project: str = "aaa") -> list[Advisory]:
    return list(found.about(normalize(project)))


def severity(*entries: tuple[str, str]) -> list[dict[str, str]]:
    return [{"type": kind, "score": score} for kind, score in entries]


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({}, None),
        ({"severity": severity(("CVSS_V3", V3_CRITICAL))}, 9.8),
        ({"severity": severity(("CVSS_V3", V3_CRITICAL), ("CVSS_V4", V4_CRITICAL))}, 9.3),
        ({"severity": severity(("CVSS_V2", V2_HIGH))}, 7.5),
        ({"severity": severity(("CVSS_V2", V2_HIGH), ("CVSS_V3", V3_MEDIUM))}, 6.1),
        ({"severity": severity(("CVSS_V4", "CVSS:4.0/AV:N"), ("CVSS_V3", V3_MEDIUM))}, 6.1),
        ({"severity": severity(("CVSS_V3", "9.8"))}, None),
        ({"severity": severity(("CVSS_V3", "CVSS:3.1/" + "A" * 9_000_00))}, None),
        ({"severity": severity(("Ubuntu", "medium"))}, None),
        ({"database_specific": {"severity": "MODERATE"}}, 4.0),
        ({"database_specific": {"severity": "critical"}}, 9.0),
        ({"database_specific": {"severity": 7}}, None),
        ({"database_specific": None}, None),
        ({"database_specific": ["severity"]}, None),
        (
            {
                "severity": severity(("CVSS_V3", V3_MEDIUM)),
                "database_specific": {"severity": "LOW"},
            },
            6.1,
        ),
    ],
)
def test_severity(fields: dict[str, Any], score: float | None) -> None:
    assert read(**fields).findings[0].severity == score


def test_the_severity_of_the_package_counts_before_that_of_the_record() -> None:
    record = osv(severity=severity(("CVSS_V3", V3_CRITICAL)))
    record["affected"][0]["severity"] = severity(("CVSS_V2", V2_HIGH))
    assert read_record(msgspec.json.encode(record)).findings[0].severity == 7.5


@pytest.mark.parametrize(
    ("score", "band"),
    [(None, "unknown"), (0.0, "none"), (0.1, "low"), (3.9, "low"), (4.0, "medium"),
     (6.9, "medium"), (7.0, "high"), (8.9, "high"), (9.0, "critical"), (10.0, "critical")],
)  # fmt: skip
def test_bands(score: float | None, band: str) -> None:
    assert band_of(score) == band


@pytest.mark.parametrize(
    "document",
    [b"", b"[]", b"{}", b"null", b'{"id": 1}', b'{"id": "a b"}', b'{"id": "A\\r\\nB"}',
     b'{"id": "A", "affected": 3}', b"[" * 100_000, b'{"id": "A", "schema_version": "2.0"}',
     b"\xff\xfe", b'{"id": "' + b"A" * 65 + b'"}'],
)  # fmt: skip
def test_a_document_that_is_no_record_is_refused(document: bytes) -> None:
    with pytest.raises(UnusableRecord):
        read_record(document)


@pytest.mark.parametrize("ecosystem", ["Root:PyPI", "pypi", "PyPI:x", "npm", ""])
def test_other_registries_do_not_count(ecosystem: str) -> None:
    record = osv()
    record["affected"][0]["package"]["ecosystem"] = ecosystem
    assert read_record(msgspec.json.encode(record)).findings == []


def test_names_of_projects_are_normalized_and_entries_of_one_project_joined() -> None:
    record = osv(project="A.A_A", versions=["1.0"])
    record["affected"] += osv(project="a-a-a", versions=["2.0"])["affected"]
    (finding,) = read_record(msgspec.json.encode(record)).findings
    assert (finding.project, finding.affected.versions) == ("a-a-a", ("1.0", "2.0"))


def test_ranges_of_commits_and_unreadable_ones_say_nothing_of_versions() -> None:
    record = osv(versions=[], events=[{"introduced": "0"}], range_type="GIT")
    assert not read_record(msgspec.json.encode(record)).findings[0].affected.has_all
    record = osv(versions=[], events=[{"introduced": "0"}, {"fixed": "no version"}])
    found = read_record(msgspec.json.encode(record))
    assert not found.findings[0].affected.has_all
    assert found.ignored_ranges == 1


def test_a_summary_is_plain_and_short() -> None:
    assert read(summary="a\r\nb é" + "x" * 500).summary == "a b " + "x" * 116


def test_aliases_of_aliases_are_one_fault() -> None:
    found = collection(
        osv("PYSEC-1", aliases=["CVE-1"]),
        osv("GHSA-1", aliases=["CVE-1"], severity=severity(("CVSS_V3", V3_CRITICAL))),
        osv("GHSA-2", aliases=["CVE-2"]),
    )
    by_id = {each.id: each for each in about(found)}
    assert by_id["PYSEC-1"].names == by_id["GHSA-1"].names == ("CVE-1", "GHSA-1", "PYSEC-1")
    assert by_id["PYSEC-1"].severity == 9.8  # of its twin
    assert by_id["GHSA-2"].names == ("CVE-2", "GHSA-2")
    assert by_id["GHSA-2"].severity is None


def test_severity_is_not_taken_from_another_project_of_the_same_fault() -> None:
    found = collection(
        osv("PYSEC-1", aliases=["CVE-1"]),
        osv("GHSA-1", "bbb", aliases=["CVE-1"], severity=severity(("CVSS_V3", V3_CRITICAL))),
    )
    assert about(found)[0].severity is None
    assert about(found, "bbb")[0].severity == 9.8


def test_withdrawn_records_and_their_links_are_dropped() -> None:
    found = collection(
        osv("GHSA-1", aliases=["MAL-1"]),
        osv("PYSEC-1", aliases=["MAL-1"]),
        osv("MAL-1", withdrawn="2026-01-01T00:00:00Z"),
    )
    assert {each.id: each.names for each in about(found)} == {
        "GHSA-1": ("GHSA-1",),
        "PYSEC-1": ("PYSEC-1",),
    }
    assert not any(each.is_malware for each in about(found))


def test_records_of_malware_and_their_aliases_are_malware() -> None:
    found = collection(osv("MAL-1", aliases=["GHSA-1"]), osv("GHSA-1"), osv("GHSA-2"))
    assert {each.id: each.is_malware for each in about(found)} == {
        "MAL-1": True,
        "GHSA-1": True,
        "GHSA-2": False,
    }


def test_of_two_records_with_one_id_the_later_counts() -> None:
    late = osv("GHSA-1", versions=["2.0"], modified="2026-02-01T00:00:00Z")
    early = osv("GHSA-1", versions=["1.0"], modified="2026-01-01T00:00:00Z")
    for records in ((late, early), (early, late)):
        (advisory,) = about(collection(*records))
        assert advisory.affected.versions == ("2.0",)


def test_differences_are_the_projects_that_something_new_is_known_of() -> None:
    one = collection(osv("GHSA-1", "aaa"), osv("GHSA-2", "bbb"))
    other = collection(osv("GHSA-1", "aaa"), osv("GHSA-2", "bbb", versions=["3"]), osv("X", "ccc"))
    assert sorted(other.differences(one)) == ["bbb", "ccc"]
    assert sorted(Advisories().differences(one)) == ["aaa", "bbb"]


@pytest.mark.parametrize("data", [b"", b"\x93\x63\x00\x80", b"junk", b"\x93\x01"])
def test_data_of_another_format_is_refused(data: bytes) -> None:
    with pytest.raises((ValueError, msgspec.DecodeError)):
        Advisories.decode(data)
