"""The contract of leases: which of the processes that share a store does a piece of work now.

A lease only saves work: what is done under it is right without it too.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """The answer to a request for a lease."""

    name: str
    held: bool
    """Whether the lease was free: this process has it now, and does the work."""
    fence: int = 0
    """A number larger than those of all earlier turns of this work; 0: unknown."""
    token: str = ""
    """Identifies this turn as the one that has the lease."""


class Leases(Protocol):
    """Leases by the name of the work. No method raises for an engine that does not answer."""

    @property
    def shared(self) -> bool:
        """Whether other processes do the same work."""

    async def begin(self, name: str, after: int = 0) -> Turn:
        """Take the lease if it is free. ``after``: the fence of what is stored now."""

    async def wait(self, name: str, seconds: float) -> str:
        """Wait until the lease is free, at most so long.

        Returns the outcome that its holder gave to ``end``, and an empty text if there is none.
        """

    async def end(self, turn: Turn, outcome: str = "") -> None:
        """Give the lease back. ``outcome`` is for the processes that wait."""


class NoLeases:
    """``Leases`` of a process whose store no other process uses: each lease is free."""

    shared = False

    async def begin(self, name: str, after: int = 0) -> Turn:
        return Turn(name, held=True)

    async def wait(self, name: str, seconds: float) -> str:
        return ""

    async def end(self, turn: Turn, outcome: str = "") -> None:
        """Do nothing: there is no lease."""


NO_LEASES: Leases = NoLeases()
