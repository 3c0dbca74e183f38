"""Records of advisories in the OSV format 1.x, one JSON document each, and what counts in them.

A record is hostile input: fields may be missing, null, or of another type than the schema says.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import msgspec

from proxy import late_pattern
from proxy.advisories.affected import Affected, Interval, intervals_of, normalized
from proxy.advisories.severity import Severity, score_of, score_of_word
from proxy.model import ProjectName, normalize

ECOSYSTEM = "PyPI"
"""Exactly: ``Root:PyPI`` and other forms are other registries."""
MALWARE_PREFIX = "MAL-"
"""Begins the ids of reports of malicious packages."""
LONGEST_SUMMARY = 120
"""Characters of a summary that are kept."""

_ADVISORY_ID = late_pattern(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z", re.ASCII)
_OUTSIDE_ASCII = late_pattern(r"[^\x21-\x7e]+")


class UnusableRecord(ValueError):
    """A document that is no advisory of a version of the format that is known."""


class AffectedProject(msgspec.Struct):
    """The part of a record that is about one project."""

    project: ProjectName
    affected: Affected
    severity: float | None


class Record(msgspec.Struct):
    """The fields of a document that are read."""

    id: str
    modified: str
    """RFC 3339; of two records with one id, the later counts."""
    withdrawn: bool
    aliases: tuple[str, ...]
    summary: str
    findings: list[AffectedProject]
    ignored_ranges: int = 0
    """Ranges that cannot be read."""


class _Package(msgspec.Struct):
    ecosystem: str = ""
    name: str = ""


class _Range(msgspec.Struct):
    type: str = ""
    events: list[dict[str, str]] | None = None


class _Affected(msgspec.Struct):
    package: _Package | None = None
    versions: list[str] | None = None
    ranges: list[_Range] | None = None
    severity: list[Severity] | None = None


class _Document(msgspec.Struct):
    id: str
    modified: str = ""
    withdrawn: str | None = None
    aliases: list[str] | None = None
    summary: str | None = None
    affected: list[_Affected] | None = None
    severity: list[Severity] | None = None
    database_specific: Any = None
    schema_version: str | None = None


_decoder = msgspec.json.Decoder(_Document)


def read_record(data: bytes) -> Record:
    """Raises ``UnusableRecord``."""
    try:
        document = _decoder.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise UnusableRecord(str(error)) from None
    if (document.schema_version or "1").partition(".")[0] != "1":
        raise UnusableRecord(f"schema version {document.schema_version!r} is not 1.x")
    if not _ADVISORY_ID.match(document.id):
        raise UnusableRecord("the id has an unusual form")
    ignored = 0
    findings: dict[ProjectName, AffectedProject] = {}
    for affected in document.affected or ():
        found = _finding(affected, document)
        if found is None:
            continue
        finding, unread = found
        ignored += unread
        known = findings.get(finding.project)
        findings[finding.project] = _joined(known, finding) if known else finding
    return Record(
        document.id,
        document.modified,
        document.withdrawn is not None,
        tuple(each for each in document.aliases or () if _ADVISORY_ID.match(each)),
        _OUTSIDE_ASCII.sub(" ", document.summary or "")[:LONGEST_SUMMARY].strip(),
        list(findings.values()),
        ignored,
    )


def _finding(affected: _Affected, document: _Document) -> tuple[AffectedProject, int] | None:
    """And the number of ranges that cannot be read; None for a package of another registry."""
    package = affected.package
    if package is None or package.ecosystem != ECOSYSTEM:
        return None
    try:
        project = normalize(package.name)
    except ValueError:
        return None
    intervals: list[Interval] = []
    unread = 0
    for each in _ordered_ranges(affected):
        try:
            intervals += intervals_of(each.events or ())
        except ValueError:
            unread += 1
    versions = Affected(normalized(affected.versions or ()), tuple(dict.fromkeys(intervals)))
    return AffectedProject(project, versions, _severity(affected, document)), unread


def _ordered_ranges(affected: _Affected) -> Iterator[_Range]:
    """Ranges of versions; those of commits are about no release."""
    return (each for each in affected.ranges or () if each.type in ("ECOSYSTEM", "SEMVER"))


def _severity(affected: _Affected, document: _Document) -> float | None:
    """That of the package, else that of the record, else GitHub's word."""
    for entries in (affected.severity, document.severity):
        if entries and (score := score_of(entries)) is not None:
            return score
    known = document.database_specific
    return score_of_word(known.get("severity")) if isinstance(known, dict) else None


def _joined(one: AffectedProject, other: AffectedProject) -> AffectedProject:
    """Two entries of one record about one project."""
    affected = Affected(
        tuple(sorted({*one.affected.versions, *other.affected.versions})),
        tuple(dict.fromkeys((*one.affected.intervals, *other.affected.intervals))),
    )
    scores = [each for each in (one.severity, other.severity) if each is not None]
    return AffectedProject(one.project, affected, max(scores, default=None))
