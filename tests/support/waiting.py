"""Waiting for a state of which no event tells, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable


async def until(test: Callable[[], bool | Awaitable[bool]], limit: float = 20.0) -> None:
    """Repeat the test until it passes. Raises ``TimeoutError`` after ``limit`` seconds."""
    async with asyncio.timeout(limit):
        while True:
            passed = test()
            if passed if isinstance(passed, bool) else await passed:
                return
            await asyncio.sleep(0.002)
