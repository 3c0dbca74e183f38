"""Which of several requirements are at fault where all together cannot be resolved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from proxy.bundle.uv import UvFailed
from proxy.bundle.wants import Requirements

LOOKS = 64
"""Questions to the resolver, at most: enough for six at fault among a thousand."""

Resolve = Callable[[Requirements], Awaitable[object]]
"""Raises ``UvFailed``."""


async def at_fault(asked: Requirements, error: UvFailed, resolve: Resolve) -> dict[str, UvFailed]:
    """The lines that cannot be resolved, each with what the resolver says of it.

    Those that can be had alone, but not together, share what it says of them. ``error`` is what
    it said of all.
    """
    search = _Search(asked, resolve)
    found: dict[str, UvFailed] = {}
    rest = asked.lines
    worse: UvFailed | None = error
    while worse:
        found |= await search.among(rest, worse)
        rest = [line for line in asked.lines if line not in found]
        worse = await search.tried(rest)
    return found


@dataclass(slots=True)
class _Search:
    """By halves: of lines that can be resolved none is at fault, however many they are."""

    asked: Requirements
    resolve: Resolve
    left: int = LOOKS

    async def among(self, lines: Sequence[str], error: UvFailed) -> dict[str, UvFailed]:
        found: dict[str, UvFailed] = {}
        if len(lines) > 1:
            middle = len(lines) // 2
            for half in (lines[:middle], lines[middle:]):
                if worse := await self.tried(half):
                    found |= await self.among(half, worse)
        return found or dict.fromkeys(lines, error)

    async def tried(self, lines: Sequence[str]) -> UvFailed | None:
        """What is wrong with these; nothing also where no more may be asked."""
        if not self.left or not lines:
            return None
        self.left -= 1
        try:
            await self.resolve(self.asked.only(lines))
        except UvFailed as error:
            return error
        return None
