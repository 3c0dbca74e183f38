"""Waiting for a state of which no event tells, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

LIMIT = 60.0
"""Seconds: on a loaded machine, workers that start again take twenty."""
MAX_PAUSE = 0.05
"""Seconds between two looks: what is waited for needs the processor, too."""


async def until(test: Callable[[], bool | Awaitable[bool]], limit: float = LIMIT) -> None:
    """Repeat the test until it passes. Raises ``TimeoutError`` after ``limit`` seconds."""
    pause = 0.002
    async with asyncio.timeout(limit):
        while True:
            passed = test()
            if passed if isinstance(passed, bool) else await passed:
                return
            await asyncio.sleep(pause)
            pause = min(pause * 1.2, MAX_PAUSE)
