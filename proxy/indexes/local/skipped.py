"""Files that look like distributions and are not listed: which, and why."""

from __future__ import annotations

import logging
from collections.abc import Iterable
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
        project = _project_of(place)
        new = {project} - self.claims if project else set()
        self.claims |= new
        return new

    def places(self, project: ProjectName) -> set[Place]:
        """Where the files are, or were, that claim the project."""
        return {place for place in self._reasons if _project_of(place) == project}

    def forget(self, project: ProjectName, gone: Iterable[Place]) -> None:
        """These of its files are no more; with the last of them goes the claim."""
        for place in gone:
            self._reasons.pop(place, None)
        if not self.places(project):
            self.claims.discard(project)


def _project_of(place: Place) -> ProjectName | None:
    said = identify(place[1])
    return said.project if said else None
