"""The cache folder as a whole: opened as it is, tidied by servers only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from proxy.composition.cache import open_cache
from proxy.config import cache_folder
from proxy.config.settings import Settings
from proxy.errors import ConfigurationError
from proxy.storage.keys import Key
from tests.support.clock import Clock
from tests.support.content import random_bytes, sha256
from tests.support.mounts import mounted
from tests.support.stored import stored_keys


def settings(folder: Path | None, **more: Any) -> Settings:
    return Settings(cache_dir=folder, **more)


async def filled(folder: Path, clock: Clock, count: int = 3) -> set[str]:
    """Files of 1000 bytes in the store; their keys."""
    keys = set()
    async with open_cache(settings(folder), clock) as cache:
        for number in range(count):
            data = random_bytes(1000, number)
            cache.spool.mkdir(exist_ok=True)
            (cache.spool / "x.part").write_bytes(data)
            await cache.store.put(sha256(data), cache.spool / "x.part")
            keys.add(sha256(data))
    return keys


def keys_in(folder: Path) -> set[str]:
    return {path.name for path in (folder / "blob").glob("??/*")}


async def test_opening_deletes_nothing(tmp_path: Path, clock: Clock) -> None:
    keys = await filled(tmp_path, clock)
    (tmp_path / "spool" / "1-left.part").write_bytes(b"half")
    async with open_cache(settings(tmp_path, max_size=1), clock):
        pass
    assert keys_in(tmp_path) == keys
    assert (tmp_path / "spool" / "1-left.part").exists()


async def test_a_server_removes_leftovers_and_what_is_too_much(tmp_path: Path) -> None:
    clock = Clock(4_000_000_000.0)  # long after the files were stored
    keys = await filled(tmp_path, clock)
    (tmp_path / "spool" / "1-left.part").write_bytes(b"half")
    async with open_cache(settings(tmp_path, max_size=2500), clock) as cache:
        await cache.tidy(evict=False)
        assert keys_in(tmp_path) == keys
        await cache.tidy(evict=True)
        assert len(keys_in(tmp_path)) == 2
    assert list((tmp_path / "spool").iterdir()) == []


async def test_records_and_last_use_survive(tmp_path: Path, clock: Clock) -> None:
    async with open_cache(settings(tmp_path), clock) as cache:
        await cache.records.put(Key.parse("page/x/demo"), b"value")
        cache.used.note("ab" * 32)
    async with open_cache(settings(tmp_path), clock) as cache:
        assert await cache.records.get(Key.parse("page/x/demo")) == b"value"
        assert await cache.used.get("ab" * 32) == int(clock())


async def holds_nothing(folder: Path, clock: Clock) -> None:
    async with open_cache(settings(folder), clock) as cache:
        await cache.tidy(evict=True)
        await cache.records.put(Key.parse("a/b"), b"c")
        assert await cache.records.get(Key.parse("a/b")) is None
        assert not stored_keys(cache.folder / "blob")


async def test_a_read_only_folder_serves_as_an_empty_cache(tmp_path: Path, clock: Clock) -> None:
    with mounted(tmp_path / "cache", "ro"):
        await holds_nothing(tmp_path / "cache", clock)


async def test_a_file_in_its_place_is_refused(tmp_path: Path, clock: Clock) -> None:
    (tmp_path / "cache").write_text("not a folder")
    with pytest.raises(ConfigurationError, match="is not a folder"):
        await holds_nothing(tmp_path / "cache", clock)


def test_the_folder_is_the_users_unless_one_is_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder(settings(None)) == tmp_path / ".cache" / "waystation"
    assert cache_folder(settings(Path("~/there"))) == tmp_path / "there"
    monkeypatch.chdir(tmp_path)
    assert cache_folder(settings(Path("here"))) == tmp_path / "here"


def test_a_home_directory_that_is_not_known_is_refused() -> None:
    with pytest.raises(ValidationError, match="home directory in ~no-such-user-here"):
        settings(Path("~no-such-user-here/cache"))


async def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, clock: Clock) -> None:
    folder = tmp_path / "cache"
    (folder / "records").mkdir(parents=True)
    os.chmod(folder / "records", 0o777)
    with pytest.raises(ConfigurationError, match="written by all users"):
        async with open_cache(settings(folder), clock):
            pass
