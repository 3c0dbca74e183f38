"""Queries of the audit: clients that received files or were refused, and the rules."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import msgspec
from packaging.specifiers import SpecifierSet

from proxy.audit.database import DATABASES, DAY
from proxy.audit.entries import Result
from proxy.audit.tools import Tool
from proxy.errors import ProxyError
from proxy.events import RequestKind


class AuditUnreadable(ProxyError):
    """A database of the audit cannot be read."""

    def __init__(self, path: Path, why: str) -> None:
        super().__init__(f"{path} cannot be read: {why}")


class Wanted(msgspec.Struct, frozen=True, kw_only=True):
    """Which answers; a field that is not set restricts nothing."""

    project: str = ""
    versions: SpecifierSet | None = None
    digest: str = ""
    index: str = ""
    client: str = ""
    principal: str = ""
    rule: str = ""
    kinds: frozenset[RequestKind] = frozenset()
    results: frozenset[Result] = frozenset()
    since: float = -math.inf
    """This and the next are Unix times in seconds."""
    until: float = math.inf


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """Answers about one file, to one requester, with one result and rule."""

    client: str
    """Empty if it was not noted; a hash where the settings say so. So is ``principal``."""
    principal: str
    tool: Tool
    index: str
    kind: str
    project: str
    version: str
    filename: str
    digest: str
    result: str
    rule: str
    reason: str
    first: float
    """The first and the last time, as Unix times in seconds."""
    last: float
    number: int
    bytes: int


_IS_COMPLETE = "SELECT 1 FROM sqlite_schema WHERE name = 'answers'"
"""The table that is made last."""
_TOOL_DECODER = msgspec.json.Decoder(Tool)
_FIND = """
SELECT client, principal, tool, "index", kind, project, version, filename, digest,
  result, rule, max(reason), min(first), max(last), sum(number), sum(bytes)
FROM files CROSS JOIN answers ON answers.file = files.id
  JOIN requesters ON requesters.id = answers.requester
WHERE {conditions}
GROUP BY answers.file, answers.requester, result, rule
"""


def find(folder: Path, wanted: Wanted) -> Iterator[Found]:
    """From the databases of all processes, in no order. Raises ``AuditUnreadable``."""
    for path in sorted(folder.glob(DATABASES)):
        try:
            # Not read-only: SQLite may have to complete the transaction of a killed process.
            with closing(sqlite3.connect(f"file:{path}?mode=rw", uri=True)) as db:
                if db.execute(_IS_COMPLETE).fetchone():  # else a process is making it just now
                    yield from _find(db, wanted)
        except sqlite3.Error as error:
            raise AuditUnreadable(path, str(error)) from error


def _find(db: sqlite3.Connection, wanted: Wanted) -> Iterator[Found]:
    conditions, values = ["1"], list[object]()

    def require(column: str, allowed: Iterable[object]) -> None:
        given = list(allowed)
        conditions.append(f"{column} IN ({', '.join('?' * len(given))})")
        values.extend(given)

    for column in ("project", "digest", '"index"', "client", "principal", "rule"):
        if value := getattr(wanted, column.strip('"')):
            require(column, [value])
    if wanted.kinds:
        require("kind", wanted.kinds)
    if wanted.results:
        require("result", wanted.results)
    if wanted.versions is not None:
        require("version", _versions(db, wanted.project, wanted.versions))
    if math.isfinite(wanted.since):
        conditions.append("answers.day >= ? AND last >= ?")
        values += [int(wanted.since) // DAY, wanted.since]
    if math.isfinite(wanted.until):
        conditions.append("answers.day <= ? AND first < ?")
        values += [int(wanted.until) // DAY, wanted.until]
    question = _FIND.format(conditions=" AND ".join(conditions))
    for client, principal, tool, *rest in db.execute(question, values):
        yield Found(
            client=client,
            principal=principal,
            tool=_TOOL_DECODER.decode(tool),
            **dict(zip(Found.__struct_fields__[3:], rest, strict=True)),
        )


def _versions(db: sqlite3.Connection, project: str, versions: SpecifierSet) -> list[str]:
    """Those of the project's files that the specifiers allow, pre-releases included."""
    known = db.execute("SELECT DISTINCT version FROM files WHERE project = ?", (project,))
    return [each for (each,) in known if each and versions.contains(each, prereleases=True)]
