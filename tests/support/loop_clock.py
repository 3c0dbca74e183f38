"""An event loop whose clock a test can set forward, for timeouts that a test would wait for."""

from __future__ import annotations

import asyncio

TURNS = 20
"""Turns of the loop in which tasks act on what a timer has done."""


class SkippingLoop(asyncio.SelectorEventLoop):
    """The loop of asyncio."""

    def __init__(self) -> None:
        self.skipped = 0.0
        super().__init__()

    def time(self) -> float:
        return super().time() + self.skipped


async def skip(seconds: float) -> None:
    """Set the clock of the loop forward; timers that are due then have run afterwards."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, SkippingLoop)
    loop.skipped += seconds
    for _ in range(TURNS):
        await asyncio.sleep(0)
