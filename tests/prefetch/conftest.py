"""What tests of prefetching share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clock import Clock
from tests.support.speculating import PrefetchWorld, speculating


@pytest.fixture
async def world(tmp_path: Path, clock: Clock) -> AsyncIterator[PrefetchWorld]:
    async with speculating(tmp_path, clock) as made:
        yield made
