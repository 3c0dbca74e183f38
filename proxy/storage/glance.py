"""Reads of small values that need no thread: what the system holds in memory is there at once."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from proxy.storage.database import Database
from proxy.storage.raw import DBNAME, MODE_RAW, Unwritable

_SELECT_VALUE = """
    SELECT mode, value FROM Cache
    WHERE key = ? AND raw = 1 AND (expire_time IS NULL OR expire_time > ?)
"""


class NeedsThread(Exception):
    """It would take longer; whoever asks has to use a thread."""


class InlineReader:
    """Looks into the database of a folder from the loop. It waits for nobody, and opens nothing
    that is not open already.

    Handing a question to a thread and waiting for it takes ten times as long as the answer,
    and several such questions stand before each page that nobody has asked for yet.
    """

    def __init__(self, folder: Path, database: Database) -> None:
        self._address = f"{(folder / DBNAME).absolute().as_uri()}?mode=ro"
        self._database = database
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
        if mode != MODE_RAW or type(value) is not bytes:  # a large one lies in a file of its own
            raise NeedsThread
        return value

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
        self._connection = None

    def _connected(self) -> sqlite3.Connection:
        current = self._database.settled()
        if current is None or isinstance(current, Unwritable):
            raise NeedsThread
        if self._connection is None or self._of is not current:
            self.close()
            self._of = current
            self._connection = sqlite3.connect(
                self._address, uri=True, timeout=0, isolation_level=None
            )
        return self._connection
