"""What all lock files have in common: versions of projects, and their files with digests.

Reads ``pylock.toml`` (PEP 751), with the reader of ``packaging``.
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
    Pinned,
    PinnedVersion,
    SkippedRequirement,
    SourceRequirements,
    joined,
)
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.local_projects import local_build
from proxy.simple import last_segment, resolve

_HASH = re.compile(r"[a-z][a-z0-9_]{0,31}:[0-9a-f]{16,256}\Z")


@dataclass(frozen=True, slots=True)
class LockedFile:
    filename: str | None
    """None: the last part of the address."""
    hashes: tuple[str, ...]
    """Each ``<algorithm>:<hex>``."""
    url: str | None = None


@dataclass(frozen=True, slots=True)
class Locked:
    """One version of one project."""

    name: str
    version: str | None
    """None: the one that its files are named for."""
    files: tuple[LockedFile, ...]
    targets: tuple[Target, ...]
    """Those that need it."""
    elsewhere: str | None = None
    """If it comes from something other than an index, what that is."""
    certain: bool = True
    """Whether the lock says for which machines it is needed; else it may be for none of them."""


def for_pythons(
    document: SourceDocument, choice: FileFilter, pythons: SpecifierSet | None
) -> tuple[tuple[Target, ...], SourceRequirements]:
    """The targets a lock is made for, and what to say of the others."""
    meant = tuple(each for each in choice.targets if pythons is None or each.meets(pythons))
    others = (
        SkippedRequirement(document.name, str(each), f"locked for Python {pythons} only")
        for each in choice.targets
        if each not in meant
    )
    return meant, SourceRequirements(skipped=tuple(others))


def wants(
    document: SourceDocument, choice: FileFilter, locked: Iterable[Locked]
) -> SourceRequirements:
    """The wanted files of what is locked. Raises ``UnreadableSource``."""
    return joined(_of(document, choice, each) for each in locked if each.targets)


def digests(
    document: SourceDocument, hashes: Iterable[str], line: int | None = None
) -> frozenset[str]:
    """``<algorithm>:<hex>``, checked and in lower case. Raises ``UnreadableSource``."""
    lowered = frozenset(each.lower() for each in hashes)
    for each in lowered:
        if not _HASH.match(each):
            raise document.unreadable("a hash is not <algorithm>:<hexadecimal digits>", line)
    return lowered


def version(document: SourceDocument, text: str, line: int | None = None) -> str:
    """The version in its normal form (PEP 440). Raises ``UnreadableSource``."""
    try:
        return str(Version(text))
    except (InvalidVersion, ValueError):
        raise document.unreadable(f"not a version: {text[:40]!r}", line) from None


def _of(document: SourceDocument, choice: FileFilter, locked: Locked) -> SourceRequirements:
    project = document.project(locked.name)
    if locked.elsewhere:
        reason = f"comes from {locked.elsewhere}, not from an index"
        return SourceRequirements(skipped=(SkippedRequirement(document.name, project, reason),))
    if bare := [each for each in locked.files if not _filename(each)]:
        number = version(document, locked.version or "")
        known = digests(document, (text for each in bare for text in each.hashes))
        return SourceRequirements(versions=(PinnedVersion(project, number, known, locked.targets),))
    files = [_pinned(document, project, each, locked) for each in locked.files]
    taken = tuple(each for each in files if choice.takes(each.filename, locked.targets))
    unserved = tuple(_unserved(document, choice, taken, project, locked))
    if locked.certain or not locked.files:
        return SourceRequirements(files=taken, skipped=unserved)
    return SourceRequirements(
        files=taken, notes=tuple(f"{each}, if it is needed" for each in unserved)
    )


def _filename(file: LockedFile) -> str:
    return file.filename or last_segment(file.url or "") or ""


def _pinned(
    document: SourceDocument, project: ProjectName, file: LockedFile, locked: Locked
) -> Pinned:
    filename = _filename(file)
    if not safe_filename(filename) or not belongs_to(filename, project):
        raise document.unreadable(f"{project}: {filename[:80]!r} is no file name of the project")
    number = version(document, locked.version or version_of(filename, project) or "")
    address = resolve("", file.url) if file.url else None
    hashes = dict(each.split(":", 1) for each in sorted(digests(document, file.hashes)))
    return Pinned(
        project, number, filename, hashes, address[0] if address else None, locked.targets
    )


def _unserved(
    document: SourceDocument,
    choice: FileFilter,
    taken: Iterable[Pinned],
    project: ProjectName,
    locked: Locked,
) -> Iterator[SkippedRequirement]:
    """The targets for which none of the files taken can be installed."""
    names = [each.filename for each in taken]
    what = f"{project} {locked.version or ''}".strip()
    for target in locked.targets:
        alone = FileFilter((target,), choice.sdists)
        if not any(alone.takes(name) for name in names):
            yield SkippedRequirement(
                document.name, what, f"the lock has no wanted file for {target}"
            )


def read_pylock(document: SourceDocument, choice: FileFilter) -> SourceRequirements:
    """All extras and dependency groups that are locked. Raises ``UnreadableSource``."""
    try:
        lock = Pylock.from_dict(document.toml())
        targets, others = for_pythons(document, choice, lock.requires_python)
        locked = [_locked(each, targets) for each in lock.packages if each.directory is None]
    except (PylockValidationError, RecursionError, ValueError) as error:
        raise document.unreadable(error) from None
    builds = (
        local_build(document, each.directory.path, each.name)
        for each in lock.packages
        if each.directory is not None
    )
    return joined((others, wants(document, choice, locked), *builds))


def _locked(entry: Package, targets: tuple[Target, ...]) -> Locked:
    files = tuple(_files(entry))
    version = str(entry.version) if entry.version else None
    admitted = tuple(each for each in targets if each.admits(entry.marker))
    elsewhere = entry.vcs.type if entry.vcs else "an address" if entry.archive else None
    return Locked(entry.name, version, files, admitted, elsewhere)


def _files(entry: Package) -> Iterator[LockedFile]:
    for file in (*(entry.wheels or ()), *([entry.sdist] if entry.sdist else ())):
        hashes = tuple(f"{name}:{digest}" for name, digest in file.hashes.items())
        yield LockedFile(file.filename, hashes, file.url)
