"""A tree of needs that is opened branch by branch, each with one request.

The address names the projects whose branches are open. A project that stands further up is marked
and not opened again, so that a ring of needs has an end.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import NamedTuple

MAX_OPEN = 60
"""Branches that an address can open."""
MAX_BRANCHES = 500


class Branch(NamedTuple):
    name: str
    depth: int
    """0: what the project itself needs."""
    is_repeated: bool
    """It stands further up."""
    is_open: bool
    is_leaf: bool
    """Nothing that it needs is known."""
    toggled: str
    """The names in the address that opens it, or closes it."""


class NeedTree:
    def __init__(
        self, needs: Callable[[str], Awaitable[Sequence[str]]], opened: Iterable[str]
    ) -> None:
        """``needs``: what a project needs. ``opened``: as in an address, of any form."""
        self._needs = needs
        self._opened = list(dict.fromkeys(name for name in opened if name))[:MAX_OPEN]
        self._seen: set[str] = set()
        self._branches: list[Branch] = []

    async def below(self, project: str) -> Sequence[Branch]:
        """The branches in the order in which they are shown."""
        self._seen = {project}
        await self._add(await self._needs(project), 0)
        return self._branches

    async def _add(self, names: Sequence[str], depth: int) -> None:
        for name in names:
            if len(self._branches) >= MAX_BRANCHES:
                return
            repeated = name in self._seen
            self._seen.add(name)
            below = [] if repeated else await self._needs(name)
            is_open = bool(below) and name in self._opened
            self._branches.append(
                Branch(name, depth, repeated, is_open, not below, self._toggled(name))
            )
            if is_open:
                await self._add(below, depth + 1)

    def _toggled(self, name: str) -> str:
        others = [each for each in self._opened if each != name]
        return ",".join(others if name in self._opened else [*self._opened, name])
