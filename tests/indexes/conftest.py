"""A fake index, and a place for mirrors of it, which have to leave nothing behind."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clock import Clock
from tests.support.mirror_site import MirrorSite
from tests.support.upstream import Upstream
from tests.support.waiting import until


@pytest.fixture
async def site(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> AsyncIterator[MirrorSite]:
    async with Upstream() as upstream:
        yield MirrorSite(tmp_path, upstream, clock)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)
    gc.collect()  # whatever was never retrieved is reported now
    assert [record for record in caplog.records if record.name == "asyncio"] == []
