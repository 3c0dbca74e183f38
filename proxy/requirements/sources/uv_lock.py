"""Reads ``uv.lock``: the files of every version that a target may need."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any

from msgspec import Struct, field

from proxy.distributions import Target
from proxy.requirements.model import FileFilter, SourceRequirements, merge_requirements
from proxy.requirements.sources.document import SourceDocument
from proxy.requirements.sources.lock_files import (
    LockedFile,
    LockedProject,
    locked_requirements,
    select_targets,
)

_KNOWN_VERSION = 1
_LOCAL_KINDS = ("editable", "virtual", "directory")


class Edge(Struct):
    name: str
    version: str | None = None
    marker: str | None = None


class UvFile(Struct):
    url: str | None = None
    path: str | None = None
    filename: str | None = None
    hash: str | None = None


class UvPackage(Struct, rename="kebab"):
    """One version; ``package`` in the file."""

    name: str
    source: dict[str, Any]
    version: str | None = None
    resolution_markers: list[str] = []
    dependencies: list[Edge] = []
    optional_dependencies: dict[str, list[Edge]] = {}
    dev_dependencies: dict[str, list[Edge]] = {}
    sdist: UvFile | None = None
    wheels: list[UvFile] = []

    @property
    def edges(self) -> Iterator[Edge]:
        groups = (*self.optional_dependencies.values(), *self.dev_dependencies.values())
        return chain(self.dependencies, *groups)

    @property
    def kind(self) -> str:
        """``registry``, ``git``, ``editable``, …"""
        return next(iter(self.source), "an unknown source")


class UvManifest(Struct, rename="kebab"):
    requirements: list[Edge] = []
    dependency_groups: dict[str, list[Edge]] = {}


class UvLock(Struct, rename="kebab"):
    version: int
    requires_python: str | None = None
    manifest: UvManifest = field(default_factory=UvManifest)
    entries: list[UvPackage] = field(name="package", default_factory=list)


def read_uv_lock(document: SourceDocument, file_filter: FileFilter) -> SourceRequirements:
    """All extras, all groups and all members of the workspace. Raises ``UnreadableSource``."""
    lock = document.convert(UvLock, document.toml())
    if lock.version != _KNOWN_VERSION:
        raise document.unreadable(f"version {lock.version} of the format is not known")
    pythons = document.specifier(lock.requires_python) if lock.requires_python else None
    targets, others = select_targets(document, file_filter, pythons)
    needed: dict[int, list[Target]] = {}
    for target in targets:
        for index in _needed(document, lock, target):
            needed.setdefault(index, []).append(target)
    chosen = [(lock.entries[index], tuple(found)) for index, found in sorted(needed.items())]
    locked = (_locked(*each) for each in chosen if each[0].kind not in _LOCAL_KINDS)
    local = (
        (str(entry.source[entry.kind]), entry.name)
        for entry, _ in chosen
        if entry.kind in ("editable", "directory")
    )
    return merge_requirements((others, locked_requirements(document, file_filter, locked, local)))


def _needed(document: SourceDocument, lock: UvLock, target: Target) -> set[int]:
    """The entries that are reachable from the projects that the lock file is for."""
    by_name: dict[str, list[int]] = defaultdict(list)
    for index, entry in enumerate(lock.entries):
        markers = [document.marker(text) for text in entry.resolution_markers]
        if not markers or any(target.admits(marker) for marker in markers):
            by_name[entry.name].append(index)
    roots = [n for n, entry in enumerate(lock.entries) if entry.kind in _LOCAL_KINDS]
    waiting = [lock.entries[index].edges for index in roots]
    waiting += map(iter, (lock.manifest.requirements, *lock.manifest.dependency_groups.values()))
    reached = set(roots)
    while waiting:
        for edge in waiting.pop():
            if not target.admits(document.marker(edge.marker)):
                continue
            for index in by_name[edge.name]:
                if index not in reached and edge.version in (None, lock.entries[index].version):
                    reached.add(index)
                    waiting.append(lock.entries[index].edges)
    return reached


def _locked(entry: UvPackage, targets: tuple[Target, ...]) -> LockedProject:
    files = (*([entry.sdist] if entry.sdist else []), *entry.wheels)
    return LockedProject(
        entry.name,
        entry.version,
        tuple(
            LockedFile(file.filename, (file.hash,) if file.hash else (), file.url) for file in files
        ),
        targets,
        _elsewhere(entry),
    )


def _elsewhere(entry: UvPackage) -> str | None:
    if entry.kind != "registry":
        return entry.kind
    address = entry.source["registry"]
    web = isinstance(address, str) and address.startswith(("http://", "https://"))
    return None if web else "a local directory"
