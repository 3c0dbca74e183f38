"""Rules by project name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from proxy.errors import NoSuchProject, PrivateNameWithheld
from proxy.model import File, ProjectName

_RUNS = re.compile(r"[-_.]+")
_PATTERN = re.compile(r"[a-z0-9*?][a-z0-9._*?-]*\Z", re.IGNORECASE | re.ASCII)


def matcher(patterns: Iterable[str]) -> Callable[[ProjectName], object]:
    """What is true of the projects that one of these names, or patterns with ``*`` and ``?``, fits.

    Raises ``ValueError`` for what cannot match a project name.
    """
    each = tuple(patterns)
    wrong = [pattern for pattern in each if not _PATTERN.match(pattern)]
    if wrong:
        raise ValueError(f"not a project name or pattern: {wrong[0]!r}")
    normal = [_RUNS.sub("-", pattern).lower() for pattern in each]
    return re.compile("|".join(map(translate, normal)) or r"(?!)").match


class Reserved:
    """Names that are private even while no private file of them exists.

    Guards a public index: a reserved name is never so much as mentioned to it, and whoever
    registers the name there gains nothing (dependency confusion).
    """

    judges_files = False

    def __init__(self, patterns: Iterable[str]) -> None:
        """Names, or patterns with ``*`` and ``?``, compared in normalized form.

        Raises ``ValueError`` for what cannot match a project name.
        """
        self._patterns = tuple(patterns)
        self._matches = matcher(self._patterns)

    def admit(self, project: ProjectName) -> None:
        if self._matches(project):
            raise NoSuchProject(project, "the name is reserved for private projects")

    def allows(self, project: ProjectName, file: File) -> bool:
        return True

    def __str__(self) -> str:
        return f"reserved: {', '.join(self._patterns)}"


class Withheld:
    """Keeps the remembered private names of directories that are not served now from an upstream.

    They are no absent projects: an error stops the search, so that no other index is asked.
    """

    judges_files = False

    def __init__(self, is_withheld: Callable[[ProjectName], bool]) -> None:
        self._is_withheld = is_withheld

    def admit(self, project: ProjectName) -> None:
        if self._is_withheld(project):
            raise PrivateNameWithheld(project)

    def allows(self, project: ProjectName, file: File) -> bool:
        return True
