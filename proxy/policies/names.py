"""Rules by project name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate

from proxy.errors import NoSuchProject
from proxy.model import File, ProjectName

_RUNS = re.compile(r"[-_.]+")
_PATTERN = re.compile(r"[a-z0-9*?][a-z0-9._*?-]*\Z", re.IGNORECASE | re.ASCII)


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
        wrong = [pattern for pattern in self._patterns if not _PATTERN.match(pattern)]
        if wrong:
            raise ValueError(f"not a project name or pattern: {wrong[0]!r}")
        normal = [_RUNS.sub("-", pattern).lower() for pattern in self._patterns]
        self._matches = re.compile("|".join(map(translate, normal)) or r"(?!)").match

    def admit(self, project: ProjectName) -> None:
        if self._matches(project):
            raise NoSuchProject(project, "the name is reserved for private projects")

    def allows(self, project: ProjectName, file: File) -> bool:
        return True

    def __str__(self) -> str:
        return f"reserved: {', '.join(self._patterns)}"
