"""An upstream, and a proxy in this process with one index under one policy."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from proxy.composition import Proxy, open_proxy
from proxy.config import load_settings
from tests.support.clock import Clock
from tests.support.upstream import Upstream

Open = Callable[..., AbstractAsyncContextManager[Proxy]]


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def opened(tmp_path: Path, upstream: Upstream, clock: Clock) -> Open:
    """Opens a proxy whose index ``main`` has the policy ``rule``, and ``free`` none."""

    @asynccontextmanager
    async def open_with(policy: dict[str, Any], **more: Any) -> AsyncIterator[Proxy]:
        values: dict[str, Any] = {
            "cache_dir": str(tmp_path / "cache"),
            "retries": 0,
            "speculate": "off",
            "policies": {"rule": policy},
            "indexes": {
                "main": {"kind": "mirror", "url": upstream.url, "policies": ["rule"]},
                "free": {"kind": "mirror", "url": upstream.url},
            },
        }
        async with open_proxy(load_settings(values | more).settings, clock) as proxy:
            yield proxy

    return open_with
