"""Code that the readers of all lock files share, and the reader of ``pylock.toml`` (PEP 751).

Each format is read into ``LockedProject`` values; ``locked_requirements`` selects their files.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from packaging.pylock import Package, Pylock, PylockValidationError
from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from proxy.distributions import Target, belongs_to, safe_filename, version_of
from proxy.model import ProjectName
from proxy.requirements.model import (
    FileFilter,
    PinnedFile,
    PinnedVersion,
    SkippedRequirement,
    SourceRequirements,
    merge_requirements,
)
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.local_projects import project_build_requirements
from proxy.simple import last_segment, resolve

_HASH = re.compile(r"[a-z][a-z0-9_]{0,31}:[0-9a-f]{16,256}\Z")


@dataclass(frozen=True, slots=True)
class LockedFile:
    filename: str | None
    """None: the last segment of the address."""
    hashes: tuple[str, ...]
    """Each ``<algorithm>:<hex>``."""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class LockedProject:
    """One version of one project."""

    name: str
    version: str | None
    """None: the version in the names of its files."""
    files: tuple[LockedFile, ...]
    targets: tuple[Target, ...]
    """The targets that need this version."""
    elsewhere: str | None = None
    """For a project that does not come from an index: where it comes from."""
    certain: bool = True
    """Whether the lock file says which targets need it; if not, perhaps none of them does."""


def select_targets(
    document: SourceDocument, file_filter: FileFilter, pythons: SpecifierSet | None
) -> tuple[tuple[Target, ...], SourceRequirements]:
    """The targets that the lock file is made for; the others are skipped requirements."""
    targets = file_filter.targets
    supported = tuple(each for each in targets if pythons is None or each.meets(pythons))
    others = (
        SkippedRequirement(document.name, str(each), f"locked for Python {pythons} only")
        for each in targets
        if each not in supported
    )
    return supported, SourceRequirements(skipped=tuple(others))


def admitting_targets(
    document: SourceDocument, targets: Iterable[Target], markers: Iterable[str | None]
) -> tuple[Target, ...]:
    """The targets that one of the environment markers admits; None admits all."""
    parsed = [document.marker(each) for each in markers]
    return tuple(each for each in targets if any(each.admits(marker) for marker in parsed))


def locked_requirements(
    document: SourceDocument,
    file_filter: FileFilter,
    locked: Iterable[LockedProject],
    local: Iterable[tuple[str, str]] = (),
) -> SourceRequirements:
    """The locked files that the filter accepts, and what builds the local projects.

    ``local``: the path and the name of each. Raises ``UnreadableSource``.
    """
    files = (_requirements_of(document, file_filter, each) for each in locked if each.targets)
    builds = (project_build_requirements(document, path, name) for path, name in local)
    return merge_requirements((*files, *builds))


def parse_hashes(
    document: SourceDocument, hashes: Iterable[str], line: int | None = None
) -> frozenset[str]:
    """The hashes in lower case. Raises ``UnreadableSource`` unless all are ``algorithm:hex``."""
    lowered = frozenset(each.lower() for each in hashes)
    for each in lowered:
        if not _HASH.match(each):
            raise document.unreadable("a hash is not <algorithm>:<hexadecimal digits>", line)
    return lowered


def parse_version(document: SourceDocument, text: str, line: int | None = None) -> str:
    """The version in its normal form (PEP 440). Raises ``UnreadableSource``."""
    try:
        return str(Version(text))
    except (InvalidVersion, ValueError):
        raise document.unreadable(f"not a version: {text[:40]!r}", line) from None


def _requirements_of(
    document: SourceDocument, file_filter: FileFilter, locked: LockedProject
) -> SourceRequirements:
    project = document.project(locked.name)
    if locked.elsewhere:
        reason = f"comes from {locked.elsewhere}, not from an index"
        return SourceRequirements(skipped=(SkippedRequirement(document.name, project, reason),))
    if bare := [each for each in locked.files if not _filename(each)]:
        number = parse_version(document, locked.version or "")
        known = parse_hashes(document, (text for each in bare for text in each.hashes))
        return SourceRequirements(versions=(PinnedVersion(project, number, known, locked.targets),))
    files = [_pinned(document, project, each, locked) for each in locked.files]
    accepted = tuple(each for each in files if file_filter.accepts(each.filename, locked.targets))
    unserved = tuple(_unserved(document, file_filter, accepted, project, locked))
    if locked.certain or not locked.files:
        return SourceRequirements(files=accepted, skipped=unserved)
    return SourceRequirements(
        files=accepted, notes=tuple(f"{each}, if it is needed" for each in unserved)
    )


def _filename(file: LockedFile) -> str:
    return file.filename or last_segment(file.url or "") or ""


def _pinned(
    document: SourceDocument, project: ProjectName, file: LockedFile, locked: LockedProject
) -> PinnedFile:
    filename = _filename(file)
    if not safe_filename(filename) or not belongs_to(filename, project):
        raise document.unreadable(f"{project}: {filename[:80]!r} is not a filename of the project")
    number = parse_version(document, locked.version or version_of(filename, project) or "")
    address = resolve("", file.url) if file.url else None
    hashes = dict(each.split(":", 1) for each in sorted(parse_hashes(document, file.hashes)))
    return PinnedFile(
        project, number, filename, hashes, address[0] if address else None, locked.targets
    )


def _unserved(
    document: SourceDocument,
    file_filter: FileFilter,
    accepted: Iterable[PinnedFile],
    project: ProjectName,
    locked: LockedProject,
) -> Iterator[SkippedRequirement]:
    """The targets that can install none of the accepted files."""
    names = [each.filename for each in accepted]
    what = f"{project} {locked.version or ''}".strip()
    for target in locked.targets:
        alone = FileFilter((target,), file_filter.sdists)
        if not any(alone.accepts(name) for name in names):
            yield SkippedRequirement(
                document.name, what, f"the lock file has no suitable file for {target}"
            )


def read_pylock(document: SourceDocument, file_filter: FileFilter) -> SourceRequirements:
    """All extras and dependency groups that are locked. Raises ``UnreadableSource``."""
    try:
        lock = Pylock.from_dict(document.toml())
        targets, others = select_targets(document, file_filter, lock.requires_python)
        locked = [_locked(each, targets) for each in lock.packages if each.directory is None]
    except (PylockValidationError, RecursionError, ValueError) as error:
        raise document.unreadable(error) from None
    local = (
        (each.directory.path, each.name) for each in lock.packages if each.directory is not None
    )
    return merge_requirements((others, locked_requirements(document, file_filter, locked, local)))


def _locked(entry: Package, targets: tuple[Target, ...]) -> LockedProject:
    files = tuple(_files(entry))
    version = str(entry.version) if entry.version else None
    admitted = tuple(each for each in targets if each.admits(entry.marker))
    elsewhere = entry.vcs.type if entry.vcs else "an address" if entry.archive else None
    return LockedProject(entry.name, version, files, admitted, elsewhere)


def _files(entry: Package) -> Iterator[LockedFile]:
    for file in (*(entry.wheels or ()), *([entry.sdist] if entry.sdist else ())):
        hashes = tuple(f"{name}:{digest}" for name, digest in file.hashes.items())
        yield LockedFile(file.filename, hashes, file.url)
