"""Time that moves when a test says so."""

from __future__ import annotations


class Clock:
    """Unix time in seconds, as ``time.time`` gives it."""

    def __init__(self, now: float = 1_790_000_000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> None:
        self.now += seconds
