"""Which of several requirements are at fault where all together cannot be resolved."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass

from proxy.bundle.uv import UvFailed
from proxy.bundle.wants import Requirements

MAX_TRIES = 64
"""Questions to the resolver, at most: enough for three at fault among five hundred."""

Resolve = Callable[[Requirements], Awaitable[object]]
"""Raises ``UvFailed``."""


async def find_conflicting(
    asked: Requirements,
    resolve: Resolve,
    known: Collection[str] = (),
    suspects: Collection[str] = (),
) -> dict[str, UvFailed]:
    """The lines that cannot be resolved, each with what the resolver says of it.

    Those that can be had alone, but not together, share what it says of them. Lines that are
    ``known`` to be at fault are left out; ``suspects`` are if the rest can be resolved.
    """
    search = _Search(asked, resolve)
    found: dict[str, UvFailed] = {}
    while True:
        rest = [line for line in asked.lines if line not in found and line not in known]
        error = await search.tried(rest)
        if error is None:
            return found
        likely = [line for line in rest if line in suspects]
        if likely and not await search.tried([line for line in rest if line not in suspects]):
            found |= dict.fromkeys(likely, error)
        else:
            found |= await search.among(rest, error)


@dataclass(slots=True)
class _Search:
    """By halves: of lines that can be resolved none is at fault, however many they are."""

    asked: Requirements
    resolve: Resolve
    left: int = MAX_TRIES

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
