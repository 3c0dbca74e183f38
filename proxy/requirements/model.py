"""What sources ask for: exact files, versions with digests, or work for a resolver. Values only.

Exactly which pages and files sources need for their targets. Values only: see ``gather``.

Which files of a chosen version are wanted: by target and by kind of file.
"""

from __future__ import annotations

import re
from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal, TypeVar

from packaging.specifiers import SpecifierSet

from proxy.distributions import Target
from proxy.errors import ProxyError
from proxy.model import ProjectName

T = TypeVar("T")

_USERINFO = re.compile(r"(?<=//)[^/@\s]*@")


class UnreadableSource(ProxyError):
    """A source of wants that cannot be read, or is not what it looks like."""

    def __init__(self, source: str, problem: str, line: int | None = None) -> None:
        source, problem = (_USERINFO.sub("***@", text) for text in (source, problem))
        super().__init__(source, problem, line)
        self.source = source
        self.problem = problem
        self.line = line
        """Counted from 1, where it is known."""

    def __str__(self) -> str:
        where = f"{self.source}, line {self.line}" if self.line else self.source
        return f"{where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class Pinned:
    """An exact file that a lock names."""

    project: ProjectName
    version: str
    filename: str
    hashes: Mapping[str, str]
    """Algorithm to lowercase hex, as in ``model.File``; all must be right. Empty: not locked."""
    url_hint: str | None
    """Where the lock says the file is, without user and password."""
    targets: tuple[Target, ...]
    """Those that the lock needs this version for."""


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A version, and the digests that its files may have; which files those are, the page says."""

    project: ProjectName
    version: str
    digests: frozenset[str]
    """``<algorithm>:<lowercase hex>``; a file needs to have one of them."""
    targets: tuple[Target, ...]

    def allows(self, hashes: Mapping[str, str]) -> bool:
        """Whether a file with these hashes, as in ``model.File``, is one of those locked."""
        return any(f"{name}:{digest}" in self.digests for name, digest in hashes.items())

    def unproven(self, hashes: Mapping[str, str]) -> frozenset[str]:
        """The algorithms of the digests, where none is one of the hashes: only bytes tell."""
        algorithms = frozenset(each.partition(":")[0] for each in self.digests)
        return frozenset() if algorithms & hashes.keys() else algorithms


@dataclass(frozen=True, slots=True)
class Requirements:
    """What a resolver has to resolve in one go."""

    title: str
    """For people: where it is from."""
    text: str
    """A requirements file without includes and without options that name an index."""
    constraints: str = ""
    """A constraints file of the same kind."""
    prereleases: bool = False
    """Whether pre-releases are asked for everywhere (``--pre``)."""
    choice: FileFilter | None = None
    """What it is for, where that is not for the command to say."""

    @property
    def lines(self) -> list[str]:
        """Those that require something: the others are options, which count for all."""
        return [line for line in self.text.splitlines() if not line.startswith("-")]

    def only(self, lines: Container[str]) -> Requirements:
        """Of those that require something, these."""
        kept = (line for line in self.text.splitlines() if line.startswith("-") or line in lines)
        return replace(self, text="".join(f"{line}\n" for line in kept))


@dataclass(frozen=True, slots=True)
class LatestVersions:
    """The newest ``latest`` versions of a project that the specifier allows, nothing they need."""

    project: ProjectName
    specifier: SpecifierSet
    latest: int
    choice: FileFilter | None = None
    """As of ``Requirements``."""

    @property
    def line(self) -> str:
        return f"{self.project}{self.specifier}"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """What an access log says was asked for: a project's page, or a file."""

    project: ProjectName
    filename: str | None = None
    """As in the address: it may be the ``.metadata`` or ``.provenance`` of a distribution."""
    digest: str | None = None
    """Of the distribution, as in ``model.File.digest``."""


@dataclass(frozen=True, slots=True)
class SkippedRequirement:
    """Something a source needs that cannot be had from an index."""

    source: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SourceRequirements:
    """All that one or more sources ask for."""

    files: tuple[Pinned, ...] = ()
    versions: tuple[PinnedVersion, ...] = ()
    requirements: tuple[Requirements, ...] = ()
    named: tuple[LatestVersions, ...] = ()
    touched: tuple[LoggedRequest, ...] = ()
    skipped: tuple[SkippedRequirement, ...] = ()
    notes: tuple[str, ...] = ()
    """What was read but not followed, one line each, for people."""


def joined(wants: Iterable[SourceRequirements]) -> SourceRequirements:
    """One for all, each thing once."""
    every = tuple(wants)
    files = {
        (each.project, each.filename, *sorted(each.hashes.items()), each.targets): each
        for each in chain.from_iterable(one.files for one in every)
    }
    return SourceRequirements(
        files=tuple(files.values()),
        versions=_once(one.versions for one in every),
        requirements=_once(one.requirements for one in every),
        named=_once(one.named for one in every),
        touched=_once(one.touched for one in every),
        skipped=_once(one.skipped for one in every),
        notes=_once(one.notes for one in every),
    )


def _once(groups: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(groups)))


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


SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


@dataclass(frozen=True, slots=True)
class FileFilter:
    targets: tuple[Target, ...]
    sdists: Literal["also", "none", "only"] = "also"
    """``none`` is ``--no-sdists``, ``only`` is ``--only-sdists``."""
    all_files: bool = False
    """Files for every platform and Python, and of every kind that ``sdists`` lets through."""

    def takes(self, filename: str, targets: Iterable[Target] | None = None) -> bool:
        """Whether the file is wanted for any of these targets; None: for any of the choice's."""
        if filename.endswith(SDIST_SUFFIXES):
            return self.sdists != "none"
        if self.sdists == "only":
            return False
        if self.all_files:
            return True
        wanted = self.targets if targets is None else targets
        return filename.endswith(".whl") and any(target.fits(filename) for target in wanted)
