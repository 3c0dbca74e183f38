"""diskcache for bytes under text keys, in a folder that may be read-only.

Nothing is pickled or unpickled, so that a value in the folder can never run code here.

Parts of diskcache that are not its public interface are used in this file alone, where the
public interface does not do, or takes much longer (measured with 5,000 records):

- ``InlineReader`` selects from its table: 8 µs for a value, against 40 µs for ``get`` in a thread.
- ``keys`` selects by the index on keys: 0.04 ms for a prefix, against 36 ms for ``iterkeys``.
- ``Bounded``: the library waits for a minute where another process has locked the database.
- ``ReadOnlyCache``: the library cannot open a folder in which it must not write.
- ``BytesDisk``: a file that does not fit onto the disk is removed.
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

__all__ = [
    "DATABASE_ERRORS",
    "DBNAME",
    "FILE_SIZE",
    "ROW_SIZE",
    "InlineReader",
    "NeedsThread",
    "connected",
    "keys",
]

DATABASE_ERRORS = (diskcache.Timeout, sqlite3.Error, OSError, ValueError)
"""The exceptions of reading and writing."""

LOCK_TIMEOUT = 1.0
"""Seconds to wait for a database that another process has locked."""

FILE_SIZE = 32 * 1024
"""Values of at least so many bytes get a file each."""

ROW_SIZE = 512
"""Bytes of the database that a small value needs in addition, about."""

_KEYS = """
    SELECT key FROM Cache WHERE raw = 1 AND key >= ? AND key < ?
    AND (expire_time IS NULL OR expire_time > ?) ORDER BY key
"""
_EMPTY = "CREATE TABLE Cache (key, raw, store_time, expire_time, tag, mode, filename, value)"
_SETTINGS = {
    "eviction_policy": "least-recently-stored",
    "cull_limit": 0,  # each write would count all records: ``cull`` is called from time to time
    "disk_min_file_size": FILE_SIZE,
    "statistics": 0,
    "tag_index": 0,
    "sqlite_synchronous": 1,
}


def connected(folder: Path, size_limit: int) -> Any:
    """Open the cache in the folder, which is made if it is missing. ``size_limit`` in bytes.

    A folder that cannot be written is opened to read. Raises ``DATABASE_ERRORS``.
    """
    file = folder / DBNAME
    if not all(os.access(each, os.W_OK) for each in (folder, file) if each.exists()):
        return ReadOnlyCache(folder)
    if file.exists():
        _require_unlocked(file)
    return Bounded(
        str(folder), timeout=LOCK_TIMEOUT, disk=BytesDisk, size_limit=size_limit, **_SETTINGS
    )


def _require_unlocked(file: Path) -> None:
    """Raises ``sqlite3.OperationalError`` if another process keeps the database locked."""
    con = sqlite3.connect(file, timeout=LOCK_TIMEOUT, isolation_level=None)
    try:
        con.execute("BEGIN IMMEDIATE")
        con.execute("ROLLBACK")
    finally:
        con.close()


def keys(cache: Any, prefix: str) -> list[str]:
    """All keys with the prefix, sorted."""
    rows = cache._sql(_KEYS, (prefix, prefix + chr(0x10FFFF), time.time()))
    return [key for (key,) in rows]


class BytesDisk(diskcache.Disk):  # type: ignore[misc]  # the library has no types
    """Stores text keys and bytes as they are; refuses everything that the library would pickle."""

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
        except OSError:  # leave no part of a file on a full disk
            Path(full_path).unlink(missing_ok=True)
            raise


class Bounded(diskcache.Cache):  # type: ignore[misc]  # the library has no types
    """A cache that waits for a lock of another process no longer than ``LOCK_TIMEOUT``.

    The library retries for a minute, when it opens a database and in some later calls.
    """

    @property
    def _sql_retry(self) -> Callable[..., Any]:
        sql, end = self._sql, time.monotonic() + LOCK_TIMEOUT

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


class ReadOnlyCache(diskcache.Cache):  # type: ignore[misc]  # the library has no types
    """A cache in a folder that cannot be written; writes are ignored.

    The library itself writes when it opens a database.
    """

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

    def cull(self, retry: bool = False) -> int:
        return 0

    def transact(self, retry: bool = False) -> AbstractContextManager[None]:
        return nullcontext()

    @property
    def _con(self) -> sqlite3.Connection:
        con: sqlite3.Connection | None = getattr(self._local, "con", None)
        if con is None:
            con = self._local.con = _read_only(Path(self._directory, DBNAME))
        return con


def _read_only(file: Path) -> sqlite3.Connection:
    """Open a database that cannot be written. Raises ``sqlite3.Error``.

    If the last process that used the database was killed, the newest rows are in a log beside
    it (``-wal``), which SQLite reads only with an index of the log (``-shm``). Without the index
    the database is opened as immutable, without the rows of the log.
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


_SELECT_VALUE = """
    SELECT mode, value FROM Cache
    WHERE key = ? AND raw = 1 AND (expire_time IS NULL OR expire_time > ?)
"""


class NeedsThread(Exception):
    """The value cannot be read at once: it has to be read in a thread."""


class InlineReader:
    """Reads small values on the event loop, from a database that is open already.

    Never waits for a lock of another connection. A handover to a thread takes five times as long
    as such a read, and a page that is not in memory needs several reads.
    """

    def __init__(self, folder: Path, current_if_open: Callable[[], Any]) -> None:
        self._address = f"{(folder / DBNAME).absolute().as_uri()}?mode=ro"
        self._current_if_open = current_if_open
        self._of: object = None
        self._connection: sqlite3.Connection | None = None

    def get(self, key: str) -> bytes | None:
        """The value. Raises ``NeedsThread``."""
        try:
            row = self._connected().execute(_SELECT_VALUE, (key, time.time())).fetchone()
        except sqlite3.Error as error:
            self.close()
            raise NeedsThread from error
        if row is None:
            return None
        mode, value = row
        if mode != MODE_RAW or type(value) is not bytes:  # a large value is in a file of its own
            raise NeedsThread
        return value

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> sqlite3.Connection:
        current = self._current_if_open()
        if current is None or isinstance(current, ReadOnlyCache):
            raise NeedsThread
        if self._connection is None or self._of is not current:
            self.close()
            self._of = current
            self._connection = sqlite3.connect(
                self._address, uri=True, timeout=0, isolation_level=None
            )
        return self._connection
