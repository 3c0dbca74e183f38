"""Reads ``pylock.toml`` (PEP 751), with the reader of ``packaging``."""

from __future__ import annotations

from collections.abc import Iterator

from packaging.pylock import Package, Pylock, PylockValidationError

from proxy.bundle.choice import FileFilter
from proxy.bundle.sources.document import SourceDocument
from proxy.bundle.sources.local import local_build
from proxy.bundle.sources.locked import Locked, LockedFile, for_pythons, wants
from proxy.bundle.targets import Target
from proxy.bundle.wants import SourceRequirements, joined


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
