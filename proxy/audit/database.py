"""The rollup: a SQLite database with one row for each day, file, requester, result and rule.

```text
<folder>/audit-<n>.db     of one process at a time, which holds the lock audit-<n>.lock
```

Each process writes its own database, so that no process waits for another; queries read all.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from proxy.audit.entries import Entry
from proxy.audit.privacy import ClientNames
from proxy.distributions import version_of
from proxy.model import ProjectName, distribution_of

log = logging.getLogger(__name__)
encode = msgspec.json.Encoder().encode

DAY = 86_400
"""Seconds."""
MAX_NEW_A_DAY = 200_000
"""Files, and requesters, that a process newly distinguishes on one day: clients choose their
User-Agent and the names that they request, and may not fill the disk with them."""
MAX_PROCESSES = 256
DATABASES = "audit-*.db"

_AUDIT_SCHEMA = """
PRAGMA auto_vacuum = INCREMENTAL;
PRAGMA journal_mode = WAL;
PRAGMA synchronous = NORMAL;
CREATE TABLE IF NOT EXISTS files (
  id INTEGER PRIMARY KEY, project TEXT, filename TEXT, digest TEXT, "index" TEXT, kind TEXT,
  version TEXT, day INTEGER, UNIQUE (project, filename, digest, "index", kind)
);
CREATE INDEX IF NOT EXISTS files_by_digest ON files (digest);
CREATE TABLE IF NOT EXISTS requesters (
  id INTEGER PRIMARY KEY, client TEXT, principal TEXT, tool TEXT, day INTEGER,
  UNIQUE (client, principal, tool)
);
CREATE TABLE IF NOT EXISTS answers (
  file INTEGER, day INTEGER, requester INTEGER, result TEXT, rule TEXT,
  first REAL, last REAL, number INTEGER, bytes INTEGER, reason TEXT,
  PRIMARY KEY (file, day, requester, result, rule)
) WITHOUT ROWID;
"""
_ADD = """
INSERT INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT DO UPDATE SET first = min(first, excluded.first), last = max(last, excluded.last),
  number = number + excluded.number, bytes = bytes + excluded.bytes, reason = excluded.reason
"""
_INSERT_FILE = """
INSERT INTO files (project, filename, digest, "index", kind, version, day)
VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET day = excluded.day RETURNING id
"""
_REQUESTER = """
INSERT INTO requesters (client, principal, tool, day)
VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET day = excluded.day RETURNING id
"""

Subject = tuple[str, str, str, str, str]
"""Project, filename, digest, index and kind, as in ``AnswerServed``."""
Requester = tuple[str, str, str]
"""Client, principal and User-Agent."""
NOT_NOTED: Requester = ("", "", "")
RowKey = tuple[Subject, int, Requester, str, str]
"""Of a row: with the day, the result and the rule."""


class Database:
    """Adds entries; for one thread at a time. The methods raise ``sqlite3.Error``, ``OSError``."""

    name = "database"

    def __init__(
        self, folder: Path, names: ClientNames, keep: float, max_new: int = MAX_NEW_A_DAY
    ) -> None:
        """``keep``: seconds for which answers are remembered. ``max_new``: files, and requesters,
        that are newly distinguished on one day.
        """
        self._folder = folder
        self._names = names
        self._keep = keep
        self._max_new = max_new
        self._lock = -1
        self._db: sqlite3.Connection | None = None
        self._today = 0
        self._files: dict[Subject, int] = {}
        self._requesters: dict[Requester, int] = {}

    def write(self, entries: Sequence[Entry], now: float) -> None:
        """Add the entries, all or none. ``now``: Unix time in seconds."""
        db = self._opened()
        if self._today != int(now) // DAY:
            self._new_day(db, int(now) // DAY)
        try:
            with db:
                db.executemany(_ADD, sorted(self._rows(db, entries, now)))
        except BaseException:
            self._forget_ids()  # those that were made in this transaction are gone
            raise

    def close(self) -> None:
        if self._db:
            self._db.close()
            os.close(self._lock)
        self._db = None

    def _opened(self) -> sqlite3.Connection:
        if self._db is None:
            self._lock, path = _free_place(self._folder)
            try:
                self._db = _open(path)
            except BaseException:
                os.close(self._lock)
                raise
        return self._db

    def _rows(
        self, db: sqlite3.Connection, entries: Iterable[Entry], now: float
    ) -> Iterator[tuple[object, ...]]:
        for key, sums in _added_up(entries).items():
            subject, day, requester, result, rule = key
            file = self._files.get(subject) or self._file(db, subject)
            known = self._requesters.get(requester) or self._requester(db, requester, now)
            yield file, day, known, result, rule, *sums

    def _forget_ids(self) -> None:
        self._files.clear()
        self._requesters.clear()

    def _file(self, db: sqlite3.Connection, subject: Subject) -> int:
        if len(self._files) >= self._max_new:
            subject = ("", "", "", *subject[3:])
        project, filename, *_ = subject
        version = version_of(distribution_of(filename), ProjectName(project))
        ((found,),) = db.execute(_INSERT_FILE, (*subject, version or "", self._today))
        self._files[subject] = found
        return int(found)

    def _requester(self, db: sqlite3.Connection, requester: Requester, now: float) -> int:
        if len(self._requesters) >= self._max_new:
            requester = NOT_NOTED
        client, principal, tool = self._names.known(*requester, now)
        ((found,),) = db.execute(_REQUESTER, (client, principal, encode(tool), self._today))
        self._requesters[requester] = found
        return int(found)

    def _new_day(self, db: sqlite3.Connection, today: int) -> None:
        """Forget what is older than it may be, one file in each transaction."""
        self._forget_ids()
        kept = today - int(self._keep) // DAY
        for (file,) in db.execute("SELECT id FROM files").fetchall():
            with db:
                db.execute("DELETE FROM answers WHERE file = ? AND day < ?", (file, kept))
        with db:
            db.execute("DELETE FROM files WHERE day < ?", (kept,))
            db.execute("DELETE FROM requesters WHERE day < ?", (kept,))
        db.execute("PRAGMA incremental_vacuum").fetchall()
        self._today = today


def _added_up(entries: Iterable[Entry]) -> dict[RowKey, list[Any]]:
    """For each row: the first and last time, the number of answers, their bytes, the reason."""
    rows: dict[RowKey, list[Any]] = {}
    for entry in entries:
        event, timings = entry.event, entry.event.timings
        last, number = timings[-1][0], len(timings)
        subject = (event.project or "", event.filename, event.digest, event.index, entry.kind)
        requester = (event.client, event.principal or "", event.user_agent)
        who = requester if entry.with_requester else NOT_NOTED
        key = (subject, int(last) // DAY, who, entry.result, entry.rule)
        row = rows.get(key)
        if row is None:
            rows[key] = [timings[0][0], last, number, number * entry.sent, entry.reason]
        else:
            row[1] = last
            row[2] += number
            row[3] += number * entry.sent
    return rows


def _free_place(folder: Path) -> tuple[int, Path]:
    """The descriptor of a lock that this process has now, and the database that it guards."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for number in range(MAX_PROCESSES):
        path = folder / f"audit-{number}.db"
        lock = os.open(path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
        except OSError:
            os.close(lock)
            raise
        else:
            return lock, path
    raise OSError(errno.EUSERS, f"more than {MAX_PROCESSES} processes use {folder}")


def _open(path: Path) -> sqlite3.Connection:
    """A damaged database is renamed, and a new one created."""
    try:
        return _connected(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        aside = path.with_suffix(f".damaged-{int(time.time())}")
        log.error(
            "the audit database %s is damaged (%s): it is set aside as %s", path, error, aside
        )
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    db = sqlite3.connect(path, check_same_thread=False)
    try:
        path.chmod(0o600)
        db.executescript(_AUDIT_SCHEMA)
    except BaseException:
        db.close()
        raise
    return db
