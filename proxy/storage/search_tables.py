"""The tables of the file of search; those that are older or damaged are made again."""

from __future__ import annotations

import sqlite3
from contextlib import suppress
from pathlib import Path

from proxy.runtime import create_private_file

_VERSION = 2
"""As in the last statement of the schema."""
_SEARCH_SCHEMA = (
    *("DROP TABLE IF EXISTS words", "DROP TABLE IF EXISTS project", "DROP TABLE IF EXISTS need"),
    """CREATE TABLE project (
  id INTEGER PRIMARY KEY, place TEXT, name TEXT, kind INTEGER, version TEXT, released TEXT,
  python TEXT, summary TEXT, former TEXT DEFAULT '', changed REAL DEFAULT 0,
  licence TEXT, size INTEGER, UNIQUE (place, name))""",
    "CREATE TABLE need (place TEXT, project TEXT, needed TEXT, extra TEXT)",
    "CREATE INDEX by_needed ON need (place, needed)",
    "CREATE INDEX by_project ON need (place, project)",
    """CREATE VIRTUAL TABLE words USING fts5 (
  name, summary, content = 'project', content_rowid = 'id', tokenize = 'trigram', detail = none)""",
    """CREATE TRIGGER added AFTER INSERT ON project BEGIN
  INSERT INTO words (rowid, name, summary) VALUES (new.id, new.name, new.summary); END""",
    """CREATE TRIGGER removed AFTER DELETE ON project BEGIN
  INSERT INTO words (words, rowid, name, summary)
    VALUES ('delete', old.id, old.name, old.summary); END""",
    """CREATE TRIGGER changed AFTER UPDATE OF summary ON project BEGIN
  INSERT INTO words (words, rowid, name, summary)
    VALUES ('delete', old.id, old.name, old.summary);
  INSERT INTO words (rowid, name, summary) VALUES (new.id, new.name, new.summary); END""",
    "PRAGMA user_version = 2",
)


def open_tables(path: Path) -> sqlite3.Connection:
    """Opens the file, or makes it. Raises ``sqlite3.Error``."""
    create_private_file(path)  # it has names of private projects
    db = sqlite3.connect(path, timeout=5.0)
    try:
        db.execute("PRAGMA synchronous = NORMAL")
        if db.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            _make_tables(db)
    except sqlite3.DatabaseError:
        db.close()
        raise
    return db


def delete_tables(path: Path) -> None:
    """The next ``open_tables`` makes the file again."""
    for suffix in ("", "-wal", "-shm"):
        with suppress(OSError):
            path.with_name(path.name + suffix).unlink(missing_ok=True)


def _make_tables(db: sqlite3.Connection) -> None:
    """Those of another version are dropped. Another process may make them at the same time."""
    db.execute("PRAGMA journal_mode = WAL")
    with db:
        db.execute("BEGIN IMMEDIATE")
        if db.execute("PRAGMA user_version").fetchone() != (_VERSION,):
            for statement in _SEARCH_SCHEMA:
                db.execute(statement)
