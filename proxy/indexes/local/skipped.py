"""Files that look like distributions and are not listed: which, and why."""

from __future__ import annotations

import logging
from typing import NamedTuple

_log = logging.getLogger(__name__)

Place = tuple[str, str]
"""Folder and filename."""


class Skipped(NamedTuple):
    """A file that looks like a distribution and is not listed."""

    place: Place
    reason: str


class SkipLog:
    """Says once of each file that it is not listed, and why."""

    def __init__(self, index: str) -> None:
        self.reasons: dict[Place, str] = {}
        self._index = index

    def add(self, skipped: Skipped) -> None:
        place, reason = skipped
        if self.reasons.get(place) != reason:
            self.reasons[place] = reason
            _log.warning(
                "%s: %r is not listed: %s", self._index, "/".join(filter(None, place)), reason
            )
