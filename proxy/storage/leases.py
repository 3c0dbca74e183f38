"""The contract of leases: which of the processes that share a store does a piece of work now.

A lease saves work and protects nothing: all that is done under one is right without it too.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """What came of asking for a lease."""

    name: str
    held: bool
    """Whether the lease was free, so that the work is to be done here."""
    fence: int = 0
    """Larger than those of all earlier turns of the work; 0: nothing is known of other turns."""
    token: str = ""
    """By which the lease is known as that of this turn."""


class Leases(Protocol):
    """Leases by the name of the work. No method raises for an engine that does not answer."""

    @property
    def shared(self) -> bool:
        """Whether other processes do the same work."""

    async def begin(self, name: str, after: int = 0) -> Turn:
        """Take the lease, if it is free; ``after``: the fence of what is there now."""

    async def wait(self, name: str, seconds: float) -> str:
        """Wait until the lease is free, at most so long.

        Returns what its holder has left for those who wait, and empty if that is nothing.
        """

    async def end(self, turn: Turn, outcome: str = "") -> None:
        """Give the lease back; ``outcome`` is left for those who wait."""


class NoLeases:
    """``Leases`` of a process that shares its store with none: each turn is held."""

    shared = False

    async def begin(self, name: str, after: int = 0) -> Turn:
        return Turn(name, held=True)

    async def wait(self, name: str, seconds: float) -> str:
        return ""

    async def end(self, turn: Turn, outcome: str = "") -> None:
        """Nothing: there is no lease."""


NO_LEASES: Leases = NoLeases()
