"""One server for all pages of a module that only look at it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.support.face_world import FaceWorld, face_world


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaceWorld]:
    async with face_world(tmp_path_factory.mktemp("world")) as running:
        yield running
