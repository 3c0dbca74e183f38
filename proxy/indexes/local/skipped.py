"""Files that look like distributions and are not listed: which, and why."""

from __future__ import annotations

import logging
from typing import NamedTuple

from proxy.distributions.filename import identify
from proxy.model import ProjectName

_log = logging.getLogger(__name__)

Place = tuple[str, str]
"""Folder and filename."""


class Skipped(NamedTuple):
    """A file that looks like a distribution and is not listed."""

    place: Place
    reason: str


class SkipLog:
    """Says once of each file that it is not listed, and why; remembers whose name it claims.

    A file that cannot be served still tells that its project is a private one: whoever put
    it there would not want a public project to stand in.
    """

    def __init__(self, index: str) -> None:
        self.claims: set[ProjectName] = set()
        self._reasons: dict[Place, str] = {}
        self._index = index

    def add(self, skipped: Skipped) -> set[ProjectName]:
        """The project that is claimed by this, if it was not before."""
        place, reason = skipped
        if self._reasons.get(place) == reason:
            return set()
        self._reasons[place] = reason
        _log.warning("%s: %r is not listed: %s", self._index, "/".join(filter(None, place)), reason)
        said = identify(place[1])
        new = {said.project} - self.claims if said else set()
        self.claims |= new
        return new
