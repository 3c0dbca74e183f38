"""A fake index, and a place for mirrors of it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.clock import Clock
from tests.support.mirrors import Site
from tests.support.upstream import Upstream


@pytest.fixture
async def site(tmp_path: Path, clock: Clock) -> AsyncIterator[Site]:
    async with Upstream() as upstream:
        yield Site(tmp_path, upstream, clock)
