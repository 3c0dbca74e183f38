"""What is read without a thread, and what is left to one."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.storage.diskcache_bytes import connected
from proxy.storage.records import Database, InlineReader, NeedsThread

LARGE = bytes(100_000)
"""Lies in a file of its own."""


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "records", lambda: connected(tmp_path / "records", 2**30))


@pytest.fixture
def glance(tmp_path: Path, database: Database) -> InlineReader:
    return InlineReader(tmp_path / "records", database)


def test_it_opens_nothing_by_itself(glance: InlineReader, tmp_path: Path) -> None:
    with pytest.raises(NeedsThread):
        glance.get("a")
    assert list(tmp_path.iterdir()) == []


def test_small_values_are_there_at_once(glance: InlineReader, database: Database) -> None:
    cache = database.current()
    assert glance.get("a") is None
    for value in (b"one", b"", b"another"):
        cache.set("a", value)
        assert glance.get("a") == value
    cache.delete("a")
    assert glance.get("a") is None
    cache.set("a", b"past", expire=-1)
    assert glance.get("a") is None
    glance.close()
    cache.close()


def test_large_values_are_left_to_a_thread(glance: InlineReader, database: Database) -> None:
    cache = database.current()
    cache.set("a", LARGE)
    with pytest.raises(NeedsThread):
        glance.get("a")
    cache.set("a", b"small")
    assert glance.get("a") == b"small"
    glance.close()
    cache.close()


def test_a_locked_database_is_left_to_a_thread(glance: InlineReader, database: Database) -> None:
    cache = database.current()
    cache.set("a", b"one")
    with cache.transact():  # another is writing
        cache.set("a", b"two")
        assert glance.get("a") == b"one"
    assert glance.get("a") == b"two"
    glance.close()
    cache.close()


@pytest.mark.parametrize("gone", [shutil.rmtree, lambda folder: folder.rename(f"{folder}.damaged")])
def test_a_recreated_database_is_read(
    glance: InlineReader, database: Database, tmp_path: Path, gone: Callable[[Path], object]
) -> None:
    first = database.current()
    first.set("a", b"former")
    assert glance.get("a") == b"former"
    gone(tmp_path / "records")
    with pytest.raises(NeedsThread):
        glance.get("a")
    second = database.current()
    assert glance.get("a") is None
    second.set("a", b"new")
    assert glance.get("a") == b"new"
    glance.close()
    for cache in (first, second):
        cache.close()
