"""Every database of ours that connections of one process and other processes have open at once."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import pytest

from proxy.access import TokenStore
from proxy.publish.journal import PackageJournal
from proxy.storage.search_tables import open_tables
from tests.support.running import command, environment

OTHER_PROCESS = """
import sqlite3, sys
database = sqlite3.connect(sys.argv[1])
database.execute("SELECT count(*) FROM sqlite_master").fetchone()
database.close()
"""


class Closing(Protocol):
    def close(self) -> None: ...


def tokens(folder: Path) -> Closing:
    return TokenStore(folder / "tokens")


def search(folder: Path) -> Closing:
    return open_tables(folder / "search")


def journal(folder: Path) -> Closing:
    opened = PackageJournal(folder)
    opened.last_number()  # it is opened when it is first asked
    return opened


@pytest.mark.parametrize("opened", [tokens, search, journal])
async def test_a_second_connection_of_the_process_takes_no_locks_away(
    tmp_path: Path, opened: Callable[[Path], Closing]
) -> None:
    """Without its locks the database looks unused: the last process to leave deletes its log."""
    folder = tmp_path / "data"
    folder.mkdir()
    first = opened(folder)
    (log,) = folder.rglob("*-wal")
    opened(folder).close()
    other = ("-c", OTHER_PROCESS, log.with_name(log.name.removesuffix("-wal")))
    done = await command(sys.executable, *other, env=environment(tmp_path / "home"), cwd=tmp_path)
    done.succeeded()
    assert log.exists()
    first.close()
    assert not log.exists()
