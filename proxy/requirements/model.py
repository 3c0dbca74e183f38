"""The values of this package: what sources ask for, which files that needs, and what is missing."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Literal, TypeVar

from packaging.specifiers import SpecifierSet

from proxy.distributions import Target
from proxy.errors import ProxyError, mask_credentials
from proxy.model import ProjectName

T = TypeVar("T")


class UnreadableSource(ProxyError):
    """A source cannot be read, or its content does not have the form that its name promises."""

    def __init__(self, source: str, problem: str, line: int | None = None) -> None:
        source, problem = map(mask_credentials, (source, problem))
        super().__init__(source, problem, line)
        self.source = source
        self.problem = problem
        self.line = line
        """Counted from 1; None if the problem is not in one line."""

    def __str__(self) -> str:
        where = f"{self.source}, line {self.line}" if self.line else self.source
        return f"{where}: {self.problem}"


@dataclass(frozen=True, slots=True)
class PinnedFile:
    """A file that a lock file names."""

    project: ProjectName
    version: str
    filename: str
    hashes: Mapping[str, str]
    """Algorithm to lowercase hex, as in ``model.File``; all must match. Empty: not locked."""
    url_hint: str | None
    """The address in the lock file, without user and password."""
    targets: tuple[Target, ...]
    """The targets for which the lock file needs this version."""


@dataclass(frozen=True, slots=True)
class PinnedVersion:
    """A version with the digests that its files may have; the project's page names the files."""

    project: ProjectName
    version: str
    digests: frozenset[str]
    """``<algorithm>:<lowercase hex>``; a file must have one of them."""
    targets: tuple[Target, ...]

    def allows(self, hashes: Mapping[str, str]) -> bool:
        """Whether a file with these hashes, as in ``model.File``, has one of the digests."""
        return any(f"{name}:{digest}" in self.digests for name, digest in hashes.items())

    def uncompared_algorithms(self, hashes: Mapping[str, str]) -> frozenset[str]:
        """The algorithms of the digests if none is among the hashes: the bytes have to be hashed.

        Empty if at least one digest can be compared with a hash.
        """
        algorithms = frozenset(each.partition(":")[0] for each in self.digests)
        return frozenset() if algorithms & hashes.keys() else algorithms


@dataclass(frozen=True, slots=True)
class ResolverInput:
    """Requirements that are resolved together."""

    title: str
    """The source, for messages."""
    text: str
    """A requirements file without includes and without options that name an index."""
    constraints: str = ""
    """A constraints file of the same kind."""
    prereleases: bool = False
    """Whether pre-releases of every project are allowed (``--pre``)."""
    file_filter: FileFilter | None = None
    """Replaces the file filter of the command."""

    @property
    def lines(self) -> list[str]:
        """The lines that require something, without the lines of options."""
        return [line for line in self.text.splitlines() if not line.startswith("-")]

    def with_lines(self, lines: Container[str]) -> ResolverInput:
        """The same with these requirements only; options apply to all lines and stay."""
        kept = (line for line in self.text.splitlines() if line.startswith("-") or line in lines)
        return replace(self, text="".join(f"{line}\n" for line in kept))


Resolution = tuple[ResolverInput, Target]
"""One run of the resolver."""


@dataclass(frozen=True, slots=True)
class LatestVersions:
    """The newest ``count`` versions of a project that match, without their dependencies."""

    project: ProjectName
    specifier: SpecifierSet
    count: int
    file_filter: FileFilter | None = None
    """As in ``ResolverInput``."""

    @property
    def line(self) -> str:
        return f"{self.project}{self.specifier}"


@dataclass(frozen=True, slots=True)
class LoggedRequest:
    """A request for a project's page or for a file, as an access log or a list names it."""

    project: ProjectName
    filename: str | None = None
    """As in the address: possibly the ``.metadata`` or ``.provenance`` of a distribution.

    None: the project's page."""
    digest: str | None = None
    """Of the distribution, as ``File.address_digest``."""


@dataclass(frozen=True, slots=True)
class SkippedRequirement:
    """A requirement that no index can serve, such as a Git address."""

    source: str
    what: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.what}: {self.reason}"


@dataclass(frozen=True, slots=True)
class SourceRequirements:
    """The requirements of one or more sources."""

    files: tuple[PinnedFile, ...] = ()
    versions: tuple[PinnedVersion, ...] = ()
    requirements: tuple[ResolverInput, ...] = ()
    latest: tuple[LatestVersions, ...] = ()
    requests: tuple[LoggedRequest, ...] = ()
    skipped: tuple[SkippedRequirement, ...] = ()
    notes: tuple[str, ...] = ()
    """For people, one line each: what was read but not followed."""


def merge_requirements(parts: Iterable[SourceRequirements]) -> SourceRequirements:
    """All parts as one value, without duplicates, in the order of their first appearance."""
    every = tuple(parts)
    files = {
        (each.project, each.filename, *sorted(each.hashes.items()), each.targets): each
        for each in chain.from_iterable(one.files for one in every)
    }
    return SourceRequirements(
        files=tuple(files.values()),
        versions=_unique(one.versions for one in every),
        requirements=_unique(one.requirements for one in every),
        latest=_unique(one.latest for one in every),
        requests=_unique(one.requests for one in every),
        skipped=_unique(one.skipped for one in every),
        notes=_unique(one.notes for one in every),
    )


def _unique(groups: Iterable[tuple[T, ...]]) -> tuple[T, ...]:
    return tuple(dict.fromkeys(chain.from_iterable(groups)))


@dataclass(frozen=True, slots=True)
class NeededFile:
    """A distribution, or the ``.metadata`` or ``.provenance`` of one."""

    project: ProjectName
    filename: str
    digest: str
    """Of the distribution, as ``File.address_digest``."""
    size: int | None = field(default=None, compare=False)
    """Bytes, if the page names them."""
    index: str = field(default="", compare=False)
    """The name of the index that lists the file, as ``ProjectPage.source``."""
    lock_hashes: Mapping[str, str] = field(default_factory=dict, compare=False)
    """Hashes of the lock file that the page does not name: algorithm to lowercase hex."""

    @property
    def indexes(self) -> list[str]:
        """The names of the indexes that may list the file: several for a merged page."""
        return self.index.split("+")

    @property
    def line(self) -> str:
        """The file as one line that ``waystation warm -`` reads."""
        return f"{self.project}/{self.filename}#{self.digest}"


@dataclass(frozen=True, slots=True, order=True)
class Missing:
    """Something that is needed and not available."""

    line: str
    """``NeededFile.line``, with an empty filename for a project's page; or a requirement."""
    reason: str


@dataclass(frozen=True, slots=True)
class LockedVersion:
    """A version that a lock file names for a target."""

    project: ProjectName
    version: str
    target: Target
    digests: frozenset[str] = frozenset()
    """``<algorithm>:<hex>`` of its files; empty if the lock file has none."""


@dataclass(frozen=True, slots=True)
class ResolvedFiles:
    """The pages and files that sources need for their targets."""

    pages: tuple[ProjectName, ...] = ()
    files: tuple[NeededFile, ...] = ()
    missing: tuple[Missing, ...] = ()
    skipped: tuple[SkippedRequirement, ...] = ()
    notes: tuple[str, ...] = ()
    resolved: tuple[Resolution, ...] = ()
    """All runs of the resolver, those for build requirements included."""
    unresolved: tuple[Resolution, ...] = ()
    """The runs that failed for other reasons than a single missing file."""
    locked: tuple[LockedVersion, ...] = ()

    @property
    def size(self) -> int:
        """Bytes, of the files whose size a page names."""
        return sum(each.size or 0 for each in self.files)


SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


@dataclass(frozen=True, slots=True)
class FileFilter:
    """The choice among the files of a version: by target, and by kind of file."""

    targets: tuple[Target, ...]
    sdists: Literal["also", "none", "only"] = "also"
    """``none`` is ``--no-sdists``, ``only`` is ``--only-sdists``."""
    all_files: bool = False
    """Files for every platform and Python, and of every kind that ``sdists`` admits."""

    def accepts(self, filename: str, targets: Iterable[Target] | None = None) -> bool:
        """Whether the file is needed for any of these targets (default: all of the filter's)."""
        if filename.endswith(SDIST_SUFFIXES):
            return self.sdists != "none"
        if self.sdists == "only":
            return False
        if self.all_files:
            return True
        wanted = self.targets if targets is None else targets
        return filename.endswith(".whl") and any(target.fits(filename) for target in wanted)
