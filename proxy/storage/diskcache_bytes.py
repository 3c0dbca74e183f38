"""diskcache as it is used here: bytes under text keys, and a folder that may be read alone.

Nothing is pickled, in neither direction: who can write to the folder still cannot run code here.
"""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import diskcache
from diskcache.core import DBNAME, MODE_BINARY, MODE_RAW

__all__ = ["DATABASE_ERRORS", "DBNAME", "MODE_RAW", "Unwritable", "connected", "keys"]

DATABASE_ERRORS = (diskcache.Timeout, sqlite3.Error, OSError, ValueError)
"""What reading and writing may raise."""

LOCKED_FOR = 1.0
"""Seconds after which a database that another process has locked counts as unreadable."""

_KEYS = """
    SELECT key FROM Cache WHERE raw = 1 AND key >= ? AND key < ?
    AND (expire_time IS NULL OR expire_time > ?) ORDER BY key
"""
_EMPTY = "CREATE TABLE Cache (key, raw, store_time, expire_time, tag, mode, filename, value)"
_SETTINGS = {
    "eviction_policy": "least-recently-stored",
    "cull_limit": 10,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_synchronous": 1,
}


def connected(folder: Path, size_limit: int) -> Any:
    """The cache in the folder, made if need be. ``size_limit`` in bytes.

    Where nothing can be written it is what the folder holds, and nothing more is kept. Raises as
    ``DATABASE_ERRORS`` says.
    """
    file = folder / DBNAME
    if not all(os.access(each, os.W_OK) for each in (folder, file) if each.exists()):
        return Unwritable(folder)
    if file.exists():
        _require_unlocked(file)
    return Bounded(
        str(folder), timeout=LOCKED_FOR, disk=BytesDisk, size_limit=size_limit, **_SETTINGS
    )


def _require_unlocked(file: Path) -> None:
    """Raises ``sqlite3.OperationalError`` if another process keeps the database locked.

    The library would wait for a minute before it gives up.
    """
    con = sqlite3.connect(file, timeout=LOCKED_FOR, isolation_level=None)
    try:
        con.execute("BEGIN IMMEDIATE")
        con.execute("ROLLBACK")
    finally:
        con.close()


def keys(cache: Any, prefix: str) -> list[str]:
    """By the index on keys; the library itself could only walk through all of them."""
    rows = cache._sql(_KEYS, (prefix, prefix + chr(0x10FFFF), time.time()))
    return [key for (key,) in rows]


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # the library has no types
    """Text keys and bytes as they are; everything that the library would pickle is refused."""

    def put(self, key: str) -> Any:
        if not isinstance(key, str):
            raise TypeError("a key is text")
        return super().put(str(key))

    def get(self, key: object, raw: bool) -> str:
        if not raw or type(key) is not str:
            raise ValueError("a key that was not written here")
        return key

    def store(self, value: bytes, read: bool, key: object = diskcache.UNKNOWN) -> Any:
        if type(value) is not bytes or read:
            raise TypeError("a value is bytes")
        return super().store(value, False, key=key)

    def fetch(self, mode: int, filename: str | None, value: object, read: bool) -> bytes:
        if mode == MODE_RAW and type(value) is bytes:
            return value
        if mode != MODE_BINARY or not filename or read:
            raise ValueError("a value that was not written here")
        if Path(filename).is_absolute() or ".." in Path(filename).parts:
            raise ValueError("a value outside of the folder")
        return Path(self._directory, filename).read_bytes()

    def _write(self, full_path: str, *content: Any, **options: Any) -> Any:
        try:
            return super()._write(full_path, *content, **options)
        except OSError:  # a full disk is not to be filled with halves
            Path(full_path).unlink(missing_ok=True)
            raise


class Bounded(diskcache.Cache):  # type: ignore[misc]  # the library has no types
    """A cache that waits for a lock of another process no longer than its time-out.

    The library retries for a minute, while it opens a database and in some later calls.
    """

    @property
    def _sql_retry(self) -> Callable[..., Any]:
        sql, end = self._sql, time.monotonic() + LOCKED_FOR

        def execute(*statement: Any) -> Any:
            while True:
                try:
                    return sql(*statement)
                except sqlite3.OperationalError as error:
                    if str(error) != "database is locked":
                        raise
                    if time.monotonic() > end:
                        self.close()
                        raise
                time.sleep(0.001)

        return execute


class Unwritable(diskcache.Cache):  # type: ignore[misc]  # the library has no types
    """What lies in a folder on a read-only disk, say: the library itself writes when it opens."""

    eviction_policy = _SETTINGS["eviction_policy"]
    statistics = _SETTINGS["statistics"]

    def __init__(self, folder: Path) -> None:
        self._directory = str(folder)
        self._disk = BytesDisk(self._directory)
        self._local = threading.local()

    def set(self, key: str, value: bytes, **_: Any) -> bool:
        return False

    def delete(self, key: str) -> bool:
        return False

    def transact(self, retry: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def _con(self) -> sqlite3.Connection:
        con: sqlite3.Connection | None = getattr(self._local, "con", None)
        if con is None:
            con = self._local.con = _read_only(Path(self._directory, DBNAME))
        return con


def _read_only(file: Path) -> sqlite3.Connection:
    """Raises ``sqlite3.Error``.

    A database whose last user was killed has its newest rows in a log beside it, which is read
    with the help of a third file. Where that is not there, it can only be opened as one that
    nobody changes, and without the log.
    """
    address = f"{file.absolute().as_uri()}?mode=ro"
    con = sqlite3.connect(address, uri=True, isolation_level=None)
    try:
        con.execute("SELECT 1 FROM Settings LIMIT 1")
    except sqlite3.OperationalError as error:
        con.close()
        if "no such table" in str(error):  # it was never written
            con = sqlite3.connect(":memory:", isolation_level=None)
            con.execute(_EMPTY)
        else:
            con = sqlite3.connect(f"{address}&immutable=1", uri=True, isolation_level=None)
    return con
