"""All advisories by project, in the compact form that is kept in the cache.

The advisories of a project stay encoded until a page of the project is judged: 25,000 records
take a few megabytes, and are loaded in a few milliseconds.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping

import msgspec
from packaging.version import Version

from proxy.advisories.affected import Affected
from proxy.advisories.osv import MALWARE_PREFIX, Record
from proxy.model import ProjectName
from proxy.runtime import BoundedDict

FORMAT = 1
"""Of the encoded collection; grows with every change."""
MAX_DECODED = 4096
"""Projects whose advisories are kept decoded."""


class Advisory(msgspec.Struct, frozen=True, array_like=True):
    """One record, as far as it is about one project."""

    id: str
    names: tuple[str, ...]
    """All ids of the same fault, by aliases of aliases, its own included; sorted."""
    is_malware: bool
    severity: float | None
    """The highest CVSS base score of all records of the same fault; None: unknown."""
    affected: Affected
    summary: str

    @property
    def database(self) -> str:
        """The first part of the id, such as ``GHSA`` or ``PYSEC``."""
        return self.id.partition("-")[0]

    def affects(self, text: str, version: Version | None) -> bool:
        """As ``Affected.has``."""
        return self.affected.has(text, version)


class _Snapshot(msgspec.Struct, array_like=True):
    format: int
    records: int
    projects: dict[str, msgspec.Raw]


_of_project = msgspec.msgpack.Decoder(tuple[Advisory, ...])


class Advisories:
    """Immutable; a new collection replaces it as a whole."""

    def __init__(self, records: int = 0, projects: Mapping[str, bytes] | None = None) -> None:
        """``projects``: encoded advisories by project."""
        self.records = records
        """Records that the collection was made from, withdrawn ones included."""
        self._projects = projects or {}
        self._decoded: BoundedDict[str, tuple[Advisory, ...]] = BoundedDict(MAX_DECODED)

    @classmethod
    def of(cls, records: Iterable[Record]) -> Advisories:
        """Withdrawn records and older ones of the same id do not count."""
        current = _current(records)
        by_project: dict[str, list[Advisory]] = defaultdict(list)
        for group in _groups(current):
            names = tuple(sorted({each.id for each in group} | _aliases(group, current)))
            for advisory, project in _advisories(group, names):
                by_project[project].append(advisory)
        return cls(len(current), {
            project: msgspec.msgpack.encode(sorted(found, key=lambda each: each.id))
            for project, found in by_project.items()
        })  # fmt: skip

    @classmethod
    def decode(cls, data: bytes) -> Advisories:
        """Raises ``ValueError`` for data of another format."""
        snapshot = msgspec.msgpack.decode(data, type=_Snapshot)
        if snapshot.format != FORMAT:
            raise ValueError(f"advisories of format {snapshot.format}")
        # Copies: each Raw would keep the whole buffer.
        return cls(snapshot.records, {name: bytes(raw) for name, raw in snapshot.projects.items()})

    def encode(self) -> bytes:
        projects = {name: msgspec.Raw(data) for name, data in self._projects.items()}
        return msgspec.msgpack.encode(_Snapshot(FORMAT, self.records, projects))

    def about(self, project: ProjectName) -> tuple[Advisory, ...]:
        data = self._projects.get(project)
        if data is None:
            return ()
        found = self._decoded.get(project)
        if found is None:
            found = self._decoded[project] = _of_project.decode(data)
        return found

    def differences(self, other: Advisories) -> list[ProjectName]:
        """The projects whose advisories differ between the two collections."""
        names = self._projects.keys() | other._projects.keys()
        return [
            ProjectName(name)
            for name in names
            if self._projects.get(name) != other._projects.get(name)
        ]

    def __len__(self) -> int:
        """The number of projects with advisories."""
        return len(self._projects)


def _current(records: Iterable[Record]) -> dict[str, Record]:
    found: dict[str, Record] = {}
    for record in records:
        known = found.get(record.id)
        if known is None or record.modified >= known.modified:
            found[record.id] = record
    return found


def _groups(records: Mapping[str, Record]) -> Iterator[list[Record]]:
    """The records of each fault: aliases are symmetric and transitive (union by roots).

    An id that only a withdrawn record has connects nothing.
    """
    parents: dict[str, str] = {}

    def root(name: str) -> str:
        while (parent := parents.setdefault(name, name)) != name:
            parents[name] = parents[parent]
            name = parent
        return name

    valid = [each for each in records.values() if not each.withdrawn]
    for record in valid:
        for alias in _valid_aliases(record, records):
            parents[root(alias)] = root(record.id)
    groups: dict[str, list[Record]] = defaultdict(list)
    for record in valid:
        groups[root(record.id)].append(record)
    yield from groups.values()


def _valid_aliases(record: Record, records: Mapping[str, Record]) -> Iterator[str]:
    for alias in record.aliases:
        known = records.get(alias)
        if known is None or not known.withdrawn:
            yield alias


def _aliases(group: Iterable[Record], records: Mapping[str, Record]) -> set[str]:
    return {alias for record in group for alias in _valid_aliases(record, records)}


def _advisories(
    group: list[Record], names: tuple[str, ...]
) -> Iterator[tuple[Advisory, ProjectName]]:
    """Severity and malice are those of all records of the group that are about the project."""
    by_project = defaultdict(list)
    for record in group:
        for finding in record.findings:
            by_project[finding.project].append((record, finding))
    for project, found in by_project.items():
        scores = [each.severity for _, each in found if each.severity is not None]
        is_malware = any(record.id.startswith(MALWARE_PREFIX) for record, _ in found)
        for record, finding in found:
            yield (
                Advisory(
                    record.id,
                    names,
                    is_malware,
                    max(scores, default=None),
                    finding.affected,
                    record.summary,
                ),
                project,
            )
