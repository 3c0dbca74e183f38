"""The contract of ``PurgeLog``, run over every implementation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.storage.purge_log import EVERYTHING, FilePurgeLog, PurgeLog

Opener = Callable[[], PurgeLog]
"""The log of one cache, as another process opens it."""


@pytest.fixture(params=["file"])
def opened(request: pytest.FixtureRequest, tmp_path: Path) -> Opener:
    return lambda: FilePurgeLog(tmp_path / "purged")


async def test_each_reader_reads_once_what_is_purged_from_now_on(opened: Opener) -> None:
    before = opened()
    await before.append(["a"])
    after = opened()
    await before.append(["b", "c"])
    await opened().append([EVERYTHING])
    assert before.read_new() == ["a", "b", "c", EVERYTHING]
    assert after.read_new() == ["b", "c", EVERYTHING]
    assert before.read_new() == after.read_new() == []


async def test_a_log_without_new_entries_reads_nothing(opened: Opener) -> None:
    log = opened()
    assert log.read_new() == []
    await log.append([])
    assert log.read_new() == []
