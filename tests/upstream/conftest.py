"""A running fake index with one project, for all tests of what talks to it."""

from __future__ import annotations

import asyncio
import zipfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.loop_clock import SkippingLoop
from tests.support.upstream import Upstream

METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    return {"asyncio": SkippingLoop}


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    path = tmp_path / "demo-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo.py", bytes(range(256)) * 400)
    return path


@pytest.fixture
async def upstream(wheel: Path) -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        running.add(wheel, requires_python=">=3.8,<4", provenance={"version": 1})
        yield running
