"""Moments of the past, as which an index can be seen."""

from __future__ import annotations

import msgspec


class Moment(msgspec.Struct, frozen=True):
    """An instant, or the moment of a snapshot."""

    at: float
    """Unix time in seconds. Changes at that time or later do not count."""
    index: str = ""
    """The local index of the snapshot."""
    number: int | None = None
    """The last change of that index that counts, whenever that was."""

    def counts(self, number: int, at: float) -> bool:
        """Whether a change of that number and Unix time had happened."""
        return at < self.at if self.number is None else number <= self.number

    def of_index(self, name: str) -> Moment:
        """The moment as it is for another index, whose changes have other numbers."""
        return self if name == self.index else Moment(self.at)
