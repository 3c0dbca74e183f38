"""Reads ``poetry.lock``; older versions of Poetry wrote the digests into ``metadata``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec import Struct, field

from proxy.distributions import version_of
from proxy.model import ProjectName
from proxy.requirements.model import FileFilter, SourceRequirements
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.lock_files import (
    LockedFile,
    LockedProject,
    admitting_targets,
    locked_requirements,
    parse_version,
)


class PoetryFile(Struct):
    file: str
    hash: str


class PoetrySource(Struct):
    type: str = "legacy"
    url: str = ""


class PoetryPackage(Struct):
    """One version; ``package`` in the file."""

    name: str
    version: str
    source: PoetrySource = field(default_factory=PoetrySource)
    markers: str | dict[str, str] | None = None
    marker: str | None = None
    files: list[PoetryFile] = []


class PoetryMetadata(Struct):
    lock_version: str = field(name="lock-version", default="0")
    files: dict[str, list[PoetryFile]] = {}
    """In formats 1.0 and 1.1: all files of all locked versions of a project."""
    hashes: dict[str, list[str]] = {}
    """In the first format, which had no filenames."""


class PoetryLock(Struct):
    metadata: PoetryMetadata
    entries: list[PoetryPackage] = field(name="package", default_factory=list)


def read_poetry_lock(document: SourceDocument, file_filter: FileFilter) -> SourceRequirements:
    """All groups and extras. Raises ``UnreadableSource``."""
    lock = document.convert(PoetryLock, document.toml())
    files = _older_files(document, lock.metadata)
    # Before 2.1, markers were only in the dependency lists and in pyproject.toml.
    certain = lock.metadata.lock_version not in ("0", "1.0", "1.1", "2.0")
    locked = (
        LockedProject(
            entry.name,
            entry.version,
            tuple(_files(document, files, entry)),
            admitting_targets(document, file_filter.targets, _markers(entry)),
            None if entry.source.type == "legacy" else entry.source.type,
            certain=certain,
        )
        for entry in lock.entries
        if entry.source.type != "directory"
    )
    local = (
        (entry.source.url, entry.name) for entry in lock.entries if entry.source.type == "directory"
    )
    return locked_requirements(document, file_filter, locked, local)


def _older_files(
    document: SourceDocument, metadata: PoetryMetadata
) -> dict[ProjectName, list[LockedFile]]:
    """The files in older formats: with filenames, or with sha256 digests alone."""
    found = {
        document.project(name): [LockedFile(each.file, (each.hash,)) for each in listed]
        for name, listed in metadata.files.items()
    }
    for name, digests in metadata.hashes.items():
        hashes = tuple(f"sha256:{each}" for each in digests)
        found[document.project(name)] = [LockedFile(None, hashes)]
    return found


def _files(
    document: SourceDocument, older: Mapping[ProjectName, list[LockedFile]], entry: PoetryPackage
) -> Iterable[LockedFile]:
    if entry.files:
        return [LockedFile(each.file, (each.hash,)) for each in entry.files]
    project, number = document.project(entry.name), parse_version(document, entry.version)
    return [
        each
        for each in older.get(project, [])
        if version_of(each.filename or "", project) in (None, number)
    ]


def _markers(entry: PoetryPackage) -> list[str | None]:
    """One marker for each dependency group, or one for all."""
    by_group = entry.markers.values() if isinstance(entry.markers, dict) else (entry.markers,)
    return [text or entry.marker for text in by_group]
