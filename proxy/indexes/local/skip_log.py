"""The files of a local directory that look like distributions and are not listed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from typing import NamedTuple

from proxy.distributions import possible_projects
from proxy.model import ProjectName

_log = logging.getLogger(__name__)

EntryPath = tuple[str, str]
"""Folder and filename."""


class RejectedFile(NamedTuple):
    """A file that looks like a distribution and is not listed."""

    place: EntryPath
    reason: str
    is_expected: bool = False
    """Signatures, metadata and unfinished uploads lie beside distributions: no reason to warn."""


class SkipLog:
    """Logs once of each file why it is not listed and which names it keeps private.

    A file that cannot be served still shows that its project is private: a public project of
    that name must not be served in its place.
    """

    def __init__(self, index: str, is_listed: Callable[[ProjectName], bool]) -> None:
        """``is_listed``: whether listed files or folders claim the project."""
        self._is_listed = is_listed
        self.claims: set[ProjectName] = set()
        self._reasons: dict[EntryPath, str] = {}
        self._claimed: dict[ProjectName, set[EntryPath]] = {}
        self._index = index

    def add(self, skipped: RejectedFile) -> set[ProjectName]:
        """The projects that this file claims and no other skipped file did before."""
        place, reason, is_expected = skipped
        if self._reasons.get(place) == reason:
            return set()
        self._reasons[place] = reason
        projects = possible_projects(place[1])
        for project in projects:
            self._claimed.setdefault(project, set()).add(place)
        new = set(projects) - self.claims
        self.claims |= new
        if not is_expected or any(not self._is_listed(project) for project in new):
            path, names = "/".join(filter(None, place)), ", ".join(projects)
            kept = f"; it keeps these names private: {names}" if names else ""
            _log.warning("%s: %r is not listed: %s%s", self._index, path, reason, kept)
        return new

    def places(self, project: ProjectName) -> set[EntryPath]:
        """The paths of the files that claim the project, or did."""
        return self._claimed.get(project, set()).copy()

    def forget(self, project: ProjectName, gone: Iterable[EntryPath]) -> None:
        """These of its files are no more; with the last of them goes the claim."""
        for place in gone:
            self._reasons.pop(place, None)
            self._claimed.get(project, set()).discard(place)
        if not self._claimed.get(project):
            self._claimed.pop(project, None)
            self.claims.discard(project)
