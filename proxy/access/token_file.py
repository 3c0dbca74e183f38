"""The SQLite file with tokens: shared by the processes of a server and by commands."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.errors import ConfigurationError
from proxy.runtime import create_private_file


class TokenFile:
    """One connection, for one thread at a time.

    Its contexts raise ``ConfigurationError`` if the file cannot be used.
    """

    def __init__(self, path: Path, tables: str) -> None:
        """A file that does not exist is created, readable by its user alone.

        ``tables``: the statements that create tables, if they are missing.
        """
        self.path = path
        self._tables = tables
        self._lock = threading.Lock()
        self._file: tuple[int, int] | None = None
        self._database: sqlite3.Connection
        with self._errors():
            self._open()

    def close(self) -> None:
        with self._lock:
            self._database.close()

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """For reads, and for single statements that write."""
        with self._errors():
            yield self._current()

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """For changes, which are durable when this ends."""
        with self._errors():
            database = self._current()
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                database.execute("ROLLBACK")
                raise

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            with self._lock:
                yield
        except (OSError, sqlite3.Error) as error:
            problem = f"{self.path} cannot be used: {getattr(error, 'strerror', None) or error}"
            remedy = "name a file on a local disk that can be written"
            raise ConfigurationError("access.tokens", problem, remedy) from None

    def _current(self) -> sqlite3.Connection:
        """The open file; a file that was replaced or deleted is opened again, perhaps empty."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            found = None
        if found is None or (found.st_dev, found.st_ino) != self._file:
            self._database.close()
            self._open()
        return self._database

    def _open(self) -> None:
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        create_private_file(self.path)
        found = self.path.stat()  # if another file takes its place now, that is opened next time
        self._file = found.st_dev, found.st_ino
        self._database = sqlite3.connect(
            self.path, timeout=10.0, isolation_level=None, check_same_thread=False
        )
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")  # a revoked token stays revoked
        self._database.executescript(self._tables)
