"""What is read on the event loop, and what is left to a thread."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.storage.diskcache_bytes import InlineReader, NeedsThread, connected
from proxy.storage.records import RecordsDb

LARGE = bytes(100_000)
"""Lies in a file of its own."""


@pytest.fixture
def database(tmp_path: Path) -> RecordsDb:
    return RecordsDb(tmp_path / "records", lambda: connected(tmp_path / "records", 2**30))


@pytest.fixture
def inline(tmp_path: Path, database: RecordsDb) -> InlineReader:
    return InlineReader(tmp_path / "records", database.current_if_open)


def test_the_inline_reader_creates_no_database(inline: InlineReader, tmp_path: Path) -> None:
    with pytest.raises(NeedsThread):
        inline.get("a")
    assert list(tmp_path.iterdir()) == []


def test_small_values_are_there_at_once(inline: InlineReader, database: RecordsDb) -> None:
    cache = database.current()
    assert inline.get("a") is None
    for value in (b"one", b"", b"another"):
        cache.set("a", value)
        assert inline.get("a") == value
    cache.delete("a")
    assert inline.get("a") is None
    cache.set("a", b"past", expire=-1)
    assert inline.get("a") is None
    inline.close()
    cache.close()


def test_large_values_are_left_to_a_thread(inline: InlineReader, database: RecordsDb) -> None:
    cache = database.current()
    cache.set("a", LARGE)
    with pytest.raises(NeedsThread):
        inline.get("a")
    cache.set("a", b"small")
    assert inline.get("a") == b"small"
    inline.close()
    cache.close()


def test_a_locked_database_is_left_to_a_thread(inline: InlineReader, database: RecordsDb) -> None:
    cache = database.current()
    cache.set("a", b"one")
    with cache.transact():  # another is writing
        cache.set("a", b"two")
        assert inline.get("a") == b"one"
    assert inline.get("a") == b"two"
    inline.close()
    cache.close()


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda folder: folder.rename(f"{folder}.damaged")])
def test_a_recreated_database_is_read(
    inline: InlineReader, database: RecordsDb, tmp_path: Path, gone: Callable[[Path], object]
) -> None:
    first = database.current()
    first.set("a", b"former")
    assert inline.get("a") == b"former"
    gone(tmp_path / "records")
    with pytest.raises(NeedsThread):
        inline.get("a")
    second = database.current()
    assert inline.get("a") is None
    second.set("a", b"new")
    assert inline.get("a") == b"new"
    inline.close()
    for cache in (first, second):
        cache.close()
