"""Waiting for something to be the case, with a limit, where no event tells of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(test: Callable[[], bool], limit: float = 20.0) -> None:
    """Raises ``TimeoutError`` after ``limit`` seconds."""
    async with asyncio.timeout(limit):
        while not test():
            await asyncio.sleep(0.002)
