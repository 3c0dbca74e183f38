"""Exactly which pages and files sources need for their targets. Values only: see ``gather``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from proxy.bundle.targets import Target
from proxy.bundle.wants import Requirements, SkippedRequirement
from proxy.model import ProjectName


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A distribution, or the ``.metadata`` or ``.provenance`` beside one."""

    project: ProjectName
    filename: str
    digest: str
    """Of the distribution, as ``File.digest``."""
    size: int | None = field(default=None, compare=False)
    """Bytes, if the page tells."""
    index: str = field(default="", compare=False)
    """The name of the index that has it."""
    proofs: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Algorithm to lowercase hex: what else its bytes have to have, since a lock says so and
    the page does not."""

    @property
    def line(self) -> str:
        """As ``warm -`` reads it."""
        return f"{self.project}/{self.filename}#{self.digest}"


@dataclass(frozen=True, slots=True, order=True)
class Missing:
    """Something that is needed and cannot be had."""

    line: str
    """A file as in ``Need.line``, a project's page as one without a name, or a requirement."""
    reason: str


@dataclass(frozen=True, slots=True)
class LockedVersion:
    """A version that a lock names, for a target it names it for."""

    project: ProjectName
    version: str
    target: Target
    digests: frozenset[str] = frozenset()
    """``<algorithm>:<hex>`` of its files; empty: the lock has none."""


@dataclass(frozen=True, slots=True)
class ResolvedFiles:
    pages: tuple[ProjectName, ...] = ()
    files: tuple[NeededFile, ...] = ()
    missing: tuple[Missing, ...] = ()
    skipped: tuple[SkippedRequirement, ...] = ()
    notes: tuple[str, ...] = ()
    resolved: tuple[tuple[Requirements, Target], ...] = ()
    """What was given to the resolver, build requirements included."""
    unresolved: tuple[tuple[Requirements, Target], ...] = ()
    """What of that it could not resolve, where no single file would have been enough."""
    locked: tuple[LockedVersion, ...] = ()

    @property
    def size(self) -> int:
        """Bytes, as far as pages tell."""
        return sum(each.size or 0 for each in self.files)
