"""Policies that decide by project name alone."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from fnmatch import translate

from proxy import late_pattern
from proxy.errors import NoSuchProject
from proxy.model import ProjectName
from proxy.policies.base import Policy

_SEPARATORS = late_pattern(r"[-_.]+")
_NAME_PATTERN = late_pattern(r"[a-z0-9*?][a-z0-9._*?-]*\Z", re.IGNORECASE | re.ASCII)

Matches = Callable[[ProjectName], object]


def matcher(patterns: Iterable[str]) -> Matches:
    """Return a predicate: does a project match any of the names or patterns (``*``, ``?``)?

    Both sides are compared in normalized form. Raises ``ValueError`` for a pattern that cannot
    match a project name.
    """
    given = tuple(patterns)
    wrong = [pattern for pattern in given if not _NAME_PATTERN.match(pattern)]
    if wrong:
        raise ValueError(f"not a project name or pattern: {wrong[0]!r}")
    return re.compile("|".join(map(translate, map(normal_pattern, given))) or r"(?!)").match


def normal_pattern(pattern: str) -> str:
    """The pattern in the form in which names are normalized (PEP 503)."""
    return _SEPARATORS.sub("-", pattern).lower()


def patterns_overlap(one: str, other: str) -> bool:
    """Whether a project could match both patterns."""
    first, second = normal_pattern(one), normal_pattern(other)
    # Row by row: whether the first i characters of one and the first j of the other overlap.
    row = [True] + [second[: j + 1] == "*" * (j + 1) for j in range(len(second))]
    for i, left in enumerate(first):
        above = row
        row = [above[0] and first[: i + 1] == "*" * (i + 1)]
        for j, right in enumerate(second):
            if "*" in (left, right):
                row.append(above[j] or above[j + 1] or row[j])
            else:
                row.append(above[j] and (left == right or "?" in (left, right)))
    return row[-1]


class Reserved(Policy):
    """Names that are private even while no private file of them exists.

    Guards a public index: requests for a reserved name are never sent to it, so that registering
    the name there gains an attacker nothing (dependency confusion).
    """

    name = "reserved"
    judges_files = False

    def __init__(self, patterns: Iterable[str]) -> None:
        """``patterns`` as in ``matcher``, which may raise ``ValueError``."""
        self._patterns = tuple(patterns)
        self._matches = matcher(self._patterns)

    def admit(self, project: ProjectName) -> None:
        if self._matches(project):
            raise NoSuchProject(project, "the name is reserved for private projects")

    def __str__(self) -> str:
        return f"reserved: {', '.join(self._patterns)}"


class Withheld(Policy):
    """Refuses private names that the cache remembers of directories that are not served now.

    Such a project is not absent: the error stops the search, so that no other index is asked.
    """

    name = "withheld"
    judges_files = False

    def __init__(self, require_served: Callable[[ProjectName], None]) -> None:
        """``require_served`` raises ``PrivateNameWithheld``; every public request calls it."""
        self.admit = require_served  # type: ignore[method-assign,assignment]
