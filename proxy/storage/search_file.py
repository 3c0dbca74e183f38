"""The data of search: projects and their needs, in a database beside the records.

One thread writes and one reads, so that a search delays no record. The file is a copy of what the
indexes know: a damaged or older one is deleted, and filled again.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from proxy.errors import ProxyError, reason
from proxy.storage.search_tables import delete_tables, open_tables

T = TypeVar("T")
log = logging.getLogger(__name__)

PRIVATE, HELD, KNOWN = range(3)
"""Kinds of projects: from a directory, with files in the cache, with nothing but a page."""
BUDGET = 0.05
"""Seconds of a search; what was found until then is shown."""
MAX_WAITING = 4
"""Searches that wait for their turn."""
MAX_CANDIDATES = 500
MAX_NEAR = 5
"""Names that are proposed for one that nothing has."""
MAX_NODES, MAX_DEPTH = 2000, 30
"""Of a tree of dependencies."""
_PROGRESS_STEPS = 1000
"""Steps of SQLite's machine between two looks at the clock."""
_PUT = """
INSERT INTO project (place, name, kind, version, released, python, summary, licence, size)
  VALUES (:place, :name, :kind, :version, :released, :python, :summary, :licence, :size)
ON CONFLICT (place, name) DO UPDATE SET
  former = CASE WHEN version NOT IN ('', excluded.version) THEN version ELSE former END,
  changed = CASE WHEN version NOT IN ('', excluded.version) THEN :now ELSE changed END,
  kind = excluded.kind, version = excluded.version, released = excluded.released,
  python = excluded.python, size = excluded.size,
  licence = CASE WHEN excluded.licence = '' THEN licence ELSE excluded.licence END,
  summary = CASE WHEN excluded.summary = '' THEN summary ELSE excluded.summary END
"""
_PROJECT_COLUMNS = "name, kind, version, released, python, summary, former, changed, licence, size"


_NEAR = f"""
SELECT name FROM project WHERE place = ? AND id IN
  (SELECT rowid FROM words WHERE words MATCH ? LIMIT {MAX_CANDIDATES})
"""  # noqa: S608
_NEEDS = """
SELECT DISTINCT needed FROM need WHERE place = ? AND project = ? AND extra = '' ORDER BY needed
"""


class SearchBusy(ProxyError):
    """More searches wait than may."""

    def __str__(self) -> str:
        return "many people search now; try again in a moment"


class Listing(NamedTuple):
    """A project as an index shows it."""

    name: str
    kind: int
    version: str = ""
    """The one that installers choose; empty: not read so far."""
    released: str = ""
    """``yyyy-mm-dd``."""
    python: str = ""
    summary: str = ""
    former: str = ""
    """The version before the last change."""
    changed: float = 0.0
    """When the version changed, in Unix time; 0: never seen."""
    licence: str = ""
    size: int = 0
    """Bytes of a file that installers are likely to take; 0: unknown."""


class SearchResult(NamedTuple):
    listings: Sequence[Listing]
    """The best first."""
    complete: bool
    """False: the search was stopped when its time was over."""


class NeedsBelow(NamedTuple):
    """The subtree of a project in the tree of needs."""

    levels: list[list[str]]
    edges: list[tuple[str, str]]
    """A project, and one that it needs."""


class SearchFile:
    """``place`` is always the name of an index: each index finds what it shows itself."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._writer = ThreadPoolExecutor(1, "search-write")
        self._reader = ThreadPoolExecutor(1, "search-read")
        self._waiting = 0
        self._failed = False

    async def put(
        self, place: str, listings: Iterable[Listing], needs: Iterable[tuple[str, str, str]] = ()
    ) -> None:
        """``needs``: projects, what they need, and with which extra; they replace former ones."""
        rows, edges = [each._asdict() for each in listings], list(needs)

        def work(db: sqlite3.Connection) -> None:
            now = time.time()
            db.executemany(_PUT, [{**row, "place": place, "now": now} for row in rows])
            for project in {project for project, _, _ in edges}:
                db.execute("DELETE FROM need WHERE place = ? AND project = ?", (place, project))
            db.executemany("INSERT INTO need VALUES (?, ?, ?, ?)", [(place, *e) for e in edges])

        await self._write(work)

    async def remove(self, place: str, names: Iterable[str]) -> None:
        keys = [(place, name) for name in names]

        def work(db: sqlite3.Connection) -> None:
            db.executemany("DELETE FROM project WHERE place = ? AND name = ?", keys)
            db.executemany("DELETE FROM need WHERE place = ? AND project = ?", keys)

        await self._write(work)

    async def names(self, place: str) -> set[str]:
        rows = await self._read("SELECT name FROM project WHERE place = ?", place)
        return {name for (name,) in rows}

    async def some(self, place: str, names: Sequence[str]) -> dict[str, Listing]:
        """Those of the named projects that are listed."""
        marks = ",".join("?" * len(names))
        sql = f"SELECT {_PROJECT_COLUMNS} FROM project WHERE place = ? AND name IN ({marks})"  # noqa: S608
        return {row[0]: Listing(*row) for row in await self._read(sql, place, *names)}

    async def of_kind(self, place: str, kind: int, limit: int, start: int = 0) -> list[Listing]:
        sql = (
            f"SELECT {_PROJECT_COLUMNS} FROM project WHERE place = ? AND kind = ?"  # noqa: S608
            " ORDER BY name LIMIT ? OFFSET ?"
        )
        return [Listing(*row) for row in await self._read(sql, place, kind, limit, start)]

    async def count(self, place: str, kind: int) -> int:
        sql = "SELECT count(*) FROM project WHERE place = ? AND kind = ?"
        rows = await self._read(sql, place, kind)
        return int(rows[0][0]) if rows else 0

    async def last_changed(self, place: str, limit: int) -> list[Listing]:
        """Projects that are not private, and whose version has changed, the last one first."""
        sql = (
            f"SELECT {_PROJECT_COLUMNS} FROM project"  # noqa: S608
            " WHERE place = ? AND kind > 0 AND changed > 0 ORDER BY changed DESC LIMIT ?"
        )
        return [Listing(*row) for row in await self._read(sql, place, limit)]

    async def needed_by(self, place: str, project: str, limit: int = 200) -> list[tuple[str, str]]:
        """Private and cached projects that need this one, and the extra with which they do."""
        sql = (
            "SELECT DISTINCT need.project, extra FROM need JOIN project"
            " ON project.place = need.place AND project.name = need.project AND kind < ?"
            " WHERE need.place = ? AND needed = ? ORDER BY extra != '', need.project LIMIT ?"
        )
        return [
            (name, extra) for name, extra in await self._read(sql, KNOWN, place, project, limit)
        ]

    async def below(
        self, place: str, project: str, is_visible: Callable[[str], bool] = lambda name: True
    ) -> NeedsBelow:
        """All that a project needs without extras, each project once.

        What projects need that are not visible is left out. The test is called in a thread.
        """

        def work(db: sqlite3.Connection) -> NeedsBelow:
            found = NeedsBelow([], [])
            seen, level = {project}, [project]
            while level and len(found.levels) < MAX_DEPTH and len(seen) < MAX_NODES:
                needed: set[str] = set()
                for name in filter(is_visible, level):
                    rows = db.execute(_NEEDS, (place, name)).fetchall()
                    found.edges.extend((name, row[0]) for row in rows)
                    needed.update(row[0] for row in rows)
                level = sorted(needed - seen)[: MAX_NODES - len(seen)]
                seen.update(level)
                if level:
                    found.levels.append(level)
            return found

        return await self._in_reader(work, NeedsBelow([], []))

    async def needs(self, place: str, project: str) -> list[str]:
        """The projects that one needs without extras."""
        return [name for (name,) in await self._read(_NEEDS, place, project)]

    async def find(
        self, place: str, words: str, kinds: Sequence[int], text: str = ""
    ) -> SearchResult:
        """Projects whose name has ``words`` in it (normalized), or whose summary has ``text``.

        Raises ``SearchBusy``.
        """
        if self._waiting >= MAX_WAITING:
            raise SearchBusy
        self._waiting += 1
        try:
            return await self._in_reader(
                lambda db: _find(db, place, words, kinds, text), SearchResult([], complete=False)
            )
        finally:
            self._waiting -= 1

    async def near(self, place: str, words: str) -> list[str]:
        """A few names that are spelled like that one, the most similar first."""
        if not (query := _any_third(words)):
            return []

        def work(db: sqlite3.Connection) -> list[str]:
            from difflib import get_close_matches  # slow to import

            rows = db.execute(_NEAR, (place, query)).fetchall()
            return get_close_matches(words, [name for (name,) in rows], MAX_NEAR)

        return await self._in_reader(work, [])

    async def close(self) -> None:
        for thread in (self._writer, self._reader):
            thread.shutdown()

    async def _write(self, work: Callable[[sqlite3.Connection], None]) -> None:
        def transact() -> None:
            with closing(open_tables(self._path)) as db, db:
                work(db)

        try:
            await asyncio.get_running_loop().run_in_executor(self._writer, transact)
        except (sqlite3.Error, OSError) as error:
            self._report(error)

    async def _read(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        return await self._in_reader(lambda db: db.execute(sql, values).fetchall(), [])

    async def _in_reader(self, work: Callable[[sqlite3.Connection], T], otherwise: T) -> T:
        def read() -> T:
            with closing(open_tables(self._path)) as db:
                return work(db)

        try:
            return await asyncio.get_running_loop().run_in_executor(self._reader, read)
        except (sqlite3.Error, OSError) as error:
            self._report(error)
            return otherwise

    def _report(self, error: Exception) -> None:
        """Log the first failure; a damaged file is deleted, so that the next use makes it again."""
        if getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
            delete_tables(self._path)
        if not self._failed:
            self._failed = True
            # If the folder is read-only, the log says so once, at the start.
            writable = os.access(self._path.parent, os.W_OK)
            level = logging.WARNING if writable else logging.DEBUG
            log.log(level, "search is incomplete: %s", reason(error))


def _find(
    db: sqlite3.Connection, place: str, words: str, kinds: Sequence[int], text: str
) -> SearchResult:
    """The exact name, names that begin with the words, names that contain them, summaries."""
    end = time.monotonic() + BUDGET
    db.set_progress_handler(lambda: time.monotonic() > end, _PROGRESS_STEPS)
    marks = ",".join("?" * len(kinds))
    where = f"place = ? AND kind IN ({marks})"
    queries: list[tuple[str, tuple[object, ...]]] = [
        (f"{where} AND name >= ? AND name < ? || '{{'", (place, *kinds, words, words))
    ]
    for column, wanted in (("name", words), ("summary", text)):
        if len(wanted) >= 3:  # a trigram
            like = "%" + wanted.replace("%", "").replace("_", "") + "%"
            inner = f"SELECT rowid FROM words WHERE {column} LIKE ? LIMIT {MAX_CANDIDATES}"  # noqa: S608
            queries.append((f"id IN ({inner}) AND {where}", (like, place, *kinds)))
    found: dict[str, Listing] = {}
    complete = True
    for condition, values in queries:
        sql = f"SELECT {_PROJECT_COLUMNS} FROM project WHERE {condition} LIMIT {MAX_CANDIDATES}"  # noqa: S608
        try:
            for row in db.execute(sql, values):
                found.setdefault(row[0], Listing(*row))
        except sqlite3.OperationalError:
            complete = False
            break
    return SearchResult(sorted(found.values(), key=lambda each: _rank(each, words)), complete)


def _any_third(words: str) -> str:
    """A query for what has all trigrams of a third of the words: a typing error leaves another."""
    grams = [f'"{words[at : at + 3]}"' for at in range(len(words) - 2)]
    size = max(1, len(grams) // 3)
    parts = [grams[at : at + size] for at in range(0, len(grams), size)]
    return " OR ".join(f"({' AND '.join(part)})" for part in parts)


def _rank(each: Listing, words: str) -> tuple[object, ...]:
    starts, has = each.name.startswith(words), words in each.name
    return (each.name != words, not starts, not has, each.kind, len(each.name), each.name)
