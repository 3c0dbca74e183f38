"""Long work on the disk in steps, each done in a thread."""

from __future__ import annotations

from collections.abc import Callable, Generator

from proxy.storage.reading import in_thread

Steps = Generator[int, None, None]
"""Yields how many bytes each step has dealt with."""


async def run_steps(steps: Steps, tell: Callable[[int], None]) -> None:
    """All of them; if this is cancelled, the one that runs is the last."""
    try:
        while (step := await in_thread(next, steps, None)) is not None:
            tell(step)
    finally:
        steps.close()
