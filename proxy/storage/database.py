"""A database in a folder, used from threads of its own, and made anew when it is damaged."""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")
log = logging.getLogger(__name__)

_DATABASE_FILE = "cache.db"
_DAMAGE = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_REOPEN_PAUSE = 10.0
"""Seconds before a database that could not be opened is tried again."""


class Database:
    """Opened when it is first needed. What it held can be had again, so damage is no disaster.

    Whoever else has it open, in another process too, notices by the file's identity that there
    is a new one.
    """

    def __init__(self, folder: Path, connect: Callable[[], Any]) -> None:
        """``connect`` makes the database if need be; threads of what it returns are apart."""
        self._folder = folder
        self._path = str(folder / _DATABASE_FILE)
        self._connect = connect
        self._one_at_a_time = threading.Lock()
        self._open: Any = None
        self._file: tuple[int, int] | None = None
        self._refused: tuple[float, Exception] | None = None

    def current(self) -> Any:
        """Raises ``sqlite3.Error`` or ``OSError`` where it cannot be opened."""
        if self._open is None or self._identity() != self._file:
            with self._one_at_a_time:
                if self._open is None or self._identity() != self._file:
                    self._reopen()
        return self._open

    def settled(self) -> Any:
        """What ``current`` would return at once; None if it would have to do something."""
        return self._open if self._identity() == self._file else None

    def set_aside(self) -> None:
        """It is damaged. Of all that notice one acts; the others find another file by then."""
        aside = self._folder.with_name(self._folder.name + ".damaged")
        with (
            self._one_at_a_time,
            self._folder.with_name(self._folder.name + ".lock").open("a") as lock,
        ):
            fcntl.flock(lock, fcntl.LOCK_EX)
            if self._identity() == self._file:
                log.warning("%s is damaged: moved to %s and made anew", self._folder, aside.name)
                shutil.rmtree(aside, ignore_errors=True)
                os.replace(self._folder, aside)  # noqa: PTH105 (a rename onto what is not there)
            self._refused = None

    def _reopen(self) -> None:
        if self._refused is not None:
            until, error = self._refused
            if time.monotonic() < until:
                raise error.with_traceback(None)
        self._refused = self._open = None
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open = self._connect()
        except (sqlite3.Error, OSError) as error:
            self._refused = time.monotonic() + _REOPEN_PAUSE, error
            raise
        finally:
            self._file = self._identity()

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)  # noqa: PTH116 (each glance asks, and a path is slow to make)
        except OSError:
            return None
        return found.st_dev, found.st_ino


class DatabaseThread:
    """One thread that does one thing after the other with a database."""

    def __init__(self, name: str, database: Database) -> None:
        self._database = database
        self._thread = ThreadPoolExecutor(1, name)
        self._used: Any = None

    async def run(self, work: Callable[[Any], T]) -> T:
        """What ``work`` returns, given the database, or raises."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._run, work)

    async def close(self) -> None:
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close)
        self._thread.shutdown()

    def _run(self, work: Callable[[Any], T]) -> T:
        try:
            current = self._database.current()
            if current is not self._used:
                self._close()
                self._used = current
            return work(current)
        except (sqlite3.Error, OSError) as error:
            self._close()  # a transaction that could not be committed must not stay open
            if getattr(error, "sqlite_errorcode", 0) & 0xFF in _DAMAGE:
                self._database.set_aside()
            raise

    def _close(self) -> None:
        if self._used is not None:
            self._used.close()  # the connection of this thread; it comes again when needed
            self._used = None
