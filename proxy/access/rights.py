"""Rights: grants such as ``read:main`` or ``upload:private:acme-*``, and their union."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b

import msgspec

from proxy.model import ProjectName
from proxy.policies import matcher

ANY = "*"


class Scope(StrEnum):
    """The actions that a grant can allow."""

    READ = "read"
    UPLOAD = "upload"
    REFRESH = "refresh"
    ADMIN = "admin"
    METRICS = "metrics"
    AUDIT = "audit"

    __hash__ = str.__hash__


OF_AN_INDEX = (Scope.READ, Scope.UPLOAD)
"""Scopes that a grant limits to an index, and may limit to some of its projects."""


class Grant(msgspec.Struct, frozen=True):
    scope: Scope
    index: str = ANY
    """The name of an index; the grant covers what that index serves, whatever it is made of."""
    projects: str = ANY
    """A project name, or a pattern with ``*`` and ``?``."""

    def __str__(self) -> str:
        if self.scope not in OF_AN_INDEX:
            return str(self.scope)
        return ":".join((self.scope, self.index, *([self.projects] * (self.projects != ANY))))


def parse_grant(text: str) -> Grant:
    """The grant that ``read:main``, ``upload:private:acme-*`` or ``admin`` means.

    Raises ``ValueError``.
    """
    word, *limits = text.strip().split(":")
    if word not in list(Scope):
        raise ValueError(f"{text!r} begins with none of {', '.join(Scope)}")
    scope = Scope(word)
    if scope in OF_AN_INDEX and not limits:
        raise ValueError(f"{text!r} names no index; write {word}:INDEX, or {word}:* for all")
    if len(limits) > (2 if scope in OF_AN_INDEX else 0) or not all(limits):
        raise ValueError(f"{text!r} is no right such as read:main, upload:main:acme-* or admin")
    _matches(limits[1] if len(limits) == 2 else ANY)
    return Grant(scope, *limits)


class Rights:
    """The union of grants. Equal rights have equal tags, in every process."""

    __slots__ = ("_tests", "grants", "tag")

    def __init__(self, grants: Iterable[Grant]) -> None:
        self.grants = frozenset(grants)
        text = " ".join(sorted(map(str, self.grants)))
        self.tag = blake2b(text.encode(), digest_size=12).hexdigest().encode() + b" "
        """The rights class: the first part of the keys of cached responses to requests with these
        rights."""
        self._tests = tuple((each, _matches(each.projects)) for each in self.grants)

    def allows(self, scope: Scope, index: str = "", project: ProjectName | None = None) -> bool:
        """Whether a grant covers this; without a project, whether it covers any of the index."""
        return any(
            grant.scope is scope
            and (not index or grant.index in (ANY, index))
            and (project is None or bool(match(project)))
            for grant, match in self._tests
        )

    def allows_all(self, scope: Scope, index: str) -> bool:
        """Whether grants cover every project of the index."""
        return any(
            grant.scope is scope and grant.index in (ANY, index) and grant.projects == ANY
            for grant in self.grants
        )


@lru_cache(maxsize=1024)
def _matches(pattern: str) -> Callable[[ProjectName], object]:
    """Raises ``ValueError``."""
    return matcher([pattern])
