"""The journal of a local index: each change as a numbered event, in SQLite beside the packages.

The packages themselves are files and folders; the journal has the author and time of each change,
the owners of names, and the changes that may be incomplete.
"""

from __future__ import annotations

import fcntl
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from proxy.model import ProjectName
from proxy.publish.package_changes import Action, BegunChange, PackageChange

PRIVATE_FOLDER = ".waystation"
"""The folder in the directory of the packages for what is not a package."""
_BUSY_TIMEOUT = 30.0
"""Seconds to wait for another process that writes to the journal."""
_JOURNAL_TABLES = """
CREATE TABLE IF NOT EXISTS changes (
    number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, actor TEXT NOT NULL,
    action TEXT NOT NULL, project TEXT NOT NULL, version TEXT NOT NULL, filename TEXT NOT NULL,
    sha256 TEXT NOT NULL, size INTEGER NOT NULL, detail TEXT NOT NULL
) STRICT;
CREATE INDEX IF NOT EXISTS changes_of_project ON changes (project, number);
CREATE INDEX IF NOT EXISTS changes_of_file ON changes (filename, number);
CREATE TABLE IF NOT EXISTS begun (
    filename TEXT PRIMARY KEY, folder TEXT NOT NULL, change BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS planned (
    position INTEGER PRIMARY KEY, folder TEXT NOT NULL, change BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS owners (
    project TEXT NOT NULL, user TEXT NOT NULL, PRIMARY KEY (project, user)
) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS claims (
    project TEXT PRIMARY KEY, at REAL NOT NULL, actor TEXT NOT NULL
) STRICT, WITHOUT ROWID;
"""


_CHANGE_COLUMNS = ", ".join(name for name in PackageChange.__struct_fields__ if name != "number")
_PLACES = ", ".join(f":{name}" for name in PackageChange.__struct_fields__ if name != "number")


class PackageJournal:
    """All methods block, and belong in threads. They raise ``OSError``."""

    def __init__(self, root: Path) -> None:
        """``root``: the directory of the packages."""
        self.folder = root / PRIVATE_FOLDER
        self._lock = threading.RLock()
        self._connection: sqlite3.Connection | None = None

    @contextmanager
    def exclusively(self) -> Iterator[None]:
        """Keep all other writers out, of this process and of others, for a change of files."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self._lock, (self.folder / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def begin(self, folder: str, change: BegunChange) -> None:
        """Note that a file in that folder below the root is about to be changed."""
        row = change.filename, folder, msgspec.msgpack.encode(change)
        with self._writing() as database:
            database.execute("INSERT OR REPLACE INTO begun VALUES (?, ?, ?)", row)

    def begun(self) -> list[tuple[str, BegunChange]]:
        """The changes that may not have been completed, each with its folder."""
        rows = self._rows("SELECT folder, change FROM begun")
        return [(folder, msgspec.msgpack.decode(data, type=BegunChange)) for folder, data in rows]

    def plan(self, steps: Sequence[tuple[str, PackageChange]]) -> None:
        """Note changes that are about to be made, each with its folder: all of them or none."""
        rows = [(folder, msgspec.msgpack.encode(change)) for folder, change in steps]
        with self._writing() as database:
            database.executemany("INSERT INTO planned (folder, change) VALUES (?, ?)", rows)

    def planned(self) -> list[tuple[int, str, PackageChange]]:
        """The planned changes that were not made so far: position, folder, and change."""
        rows = self._rows("SELECT position, folder, change FROM planned ORDER BY position")
        decode = msgspec.msgpack.Decoder(PackageChange).decode
        return [(position, folder, decode(data)) for position, folder, data in rows]

    def close_planned(self, position: int, *made: PackageChange) -> None:
        """Store the planned change of that position, if it was made; else forget it."""
        with self._writing() as database:
            database.execute("DELETE FROM planned WHERE position = ?", (position,))
            self.complete(*made)

    def complete(self, *changes: PackageChange, new_owners: Sequence[str] = ()) -> int:
        """Store changes that have happened; returns the number of the last one.

        ``new_owners``: the users to whom the project of the changes belongs from now on.
        """
        number = 0
        with self._writing() as database:
            for change in changes:
                self._forget(database, change.filename)
                values = msgspec.structs.asdict(change)
                query = f"INSERT INTO changes ({_CHANGE_COLUMNS}) VALUES ({_PLACES})"  # noqa: S608
                number = database.execute(query, values).lastrowid or 0
                for owner in new_owners:
                    row = change.project, owner
                    database.execute("INSERT OR IGNORE INTO owners VALUES (?, ?)", row)
        return number

    def bytes_of(self, actor: str) -> int:
        """Bytes of the files that the user has published, without those deleted or replaced."""
        query = """
            SELECT coalesce(sum(size), 0) FROM changes AS published
            WHERE actor = ? AND action IN ('publish', 'replace') AND NOT EXISTS (
                SELECT 1 FROM changes AS later
                WHERE later.filename = published.filename AND later.number > published.number
                AND later.action IN ('publish', 'replace')
            ) AND coalesce((
                SELECT later.action = 'restore' FROM changes AS later
                WHERE later.filename = published.filename AND later.number > published.number
                AND later.action IN ('delete', 'restore') ORDER BY later.number DESC LIMIT 1), 1)
        """
        return int(self._rows(query, actor)[0][0])

    def abandon(self, filename: str) -> None:
        """Forget a change that was begun and has not happened."""
        with self._writing() as database:
            self._forget(database, filename)

    def changes(self, since: int = 0, limit: int = 1000) -> list[PackageChange]:
        """The changes after that number, the oldest first."""
        return self._found("WHERE number > ? ORDER BY number LIMIT ?", since, limit)

    def changes_of(self, project: ProjectName) -> list[PackageChange]:
        """All changes of a project, the oldest first."""
        return self._found("WHERE project = ? ORDER BY number", project)

    def first_changes(self) -> list[PackageChange]:
        """The first change of each project that has any."""
        first = "SELECT min(number) FROM changes WHERE project <> '' GROUP BY project"
        return self._found(f"WHERE number IN ({first})")

    def last_of_file(self, filename: str, *actions: Action) -> PackageChange | None:
        """The newest change of the file that is one of these."""
        marks = ", ".join("?" * len(actions))
        rest = f"WHERE filename = ? AND action IN ({marks}) ORDER BY number DESC LIMIT 1"
        return next(iter(self._found(rest, filename, *actions)), None)

    def deleted(self) -> list[PackageChange]:
        """The deletion of each file that was neither restored nor removed since."""
        return self._found("""
            WHERE action = 'delete' AND NOT EXISTS (
                SELECT 1 FROM changes AS later
                WHERE later.filename = changes.filename AND later.number > changes.number
                AND later.sha256 = changes.sha256 AND later.action IN ('restore', 'remove'))
            ORDER BY number""")

    def last_number(self) -> int:
        return int(self._rows("SELECT max(number) FROM changes")[0][0] or 0)

    def owners(self, project: ProjectName) -> list[str]:
        rows = self._rows("SELECT user FROM owners WHERE project = ?", project)
        return sorted(user for (user,) in rows)

    def set_owners(self, change: PackageChange, users: list[str]) -> None:
        """Replace the owners of the project of ``change``, and store the change."""
        project = change.project
        with self._writing() as database:
            database.execute("DELETE FROM owners WHERE project = ?", (project,))
            database.executemany(
                "INSERT INTO owners VALUES (?, ?)", [(project, user) for user in users]
            )
            self.complete(change)

    def is_claimed(self, project: ProjectName) -> bool:
        """Whether an administrator has claimed the name for this index."""
        return bool(self._rows("SELECT 1 FROM claims WHERE project = ?", project))

    def claim(self, change: PackageChange) -> None:
        """Claim the name of the project of ``change``, and store the change."""
        with self._writing() as database:
            row = change.project, change.at, change.actor
            database.execute("INSERT OR REPLACE INTO claims VALUES (?, ?, ?)", row)
            self.complete(change)

    def close(self) -> None:
        with self._lock:
            if self._connection:
                self._connection.close()
            self._connection = None

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction, durable when this ends; inside another one it is part of that."""
        with self._lock, _disk_errors():
            database = self._database()
            if database.in_transaction:
                yield database
                return
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
            except BaseException:
                database.execute("ROLLBACK")
                raise
            database.execute("COMMIT")

    def _rows(self, query: str, *values: object) -> list[tuple[Any, ...]]:
        with self._lock, _disk_errors():
            return self._database().execute(query, values).fetchall()

    def _database(self) -> sqlite3.Connection:
        with self._lock:
            if self._connection is None:
                self._connection = self._opened()
            return self._connection

    def _opened(self) -> sqlite3.Connection:
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        path = self.folder / "journal.sqlite3"
        database = sqlite3.connect(
            path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
        )
        try:
            database.execute("PRAGMA journal_mode = WAL")
            database.execute("PRAGMA synchronous = FULL")
            database.executescript(_JOURNAL_TABLES)
        except BaseException:
            database.close()
            raise
        return database

    def _forget(self, database: sqlite3.Connection, filename: str) -> None:
        database.execute("DELETE FROM begun WHERE filename = ?", (filename,))

    def _found(self, rest: str, *values: object) -> list[PackageChange]:
        query = f"SELECT number, {_CHANGE_COLUMNS} FROM changes {rest}"  # noqa: S608
        names = PackageChange.__struct_fields__
        rows = self._rows(query, *values)
        return [msgspec.convert(dict(zip(names, row, strict=True)), PackageChange) for row in rows]


@contextmanager
def _disk_errors() -> Iterator[None]:
    """Errors of SQLite as those of the disk that they are."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"the journal of changes cannot be used: {error}") from error
