"""Select the pages and files of a cache that go into a bundle; a delta omits those of its base."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import msgspec
from msgspec import UNSET, UnsetType

from proxy.bundle.checks import MAX_MANIFEST_SIZE, read_manifest
from proxy.bundle.errors import BadBundle, BundleIOError
from proxy.bundle.format import BundledFile, BundledPage, BundledRules, Manifest, sha256
from proxy.bundle.reader import Bundle, ByteSource
from proxy.errors import NoSuchProject
from proxy.model import ProjectName
from proxy.requirements import NeededFile, ResolvedFiles
from proxy.storage import CachedFiles, RecordKind, Records
from proxy.upstream import UpstreamOrigin

SelectedFiles = frozenset[tuple[str, str]] | None
"""Filename and digest in addresses of files that must all be cached; None: all cached files."""

_NO_FILES: SelectedFiles = frozenset()


@dataclass(frozen=True, slots=True)
class BundleSelection:
    """The projects and files of a bundle."""

    files: Mapping[str, Mapping[ProjectName, SelectedFiles]]
    """By namespace of the index. Pages of the projects and siblings of the files are included."""
    refused: frozenset[tuple[str, ProjectName, str, str]] = frozenset()
    """Cached files that are left out: namespace, project, filename, digest."""
    rules: BundledRules | UnsetType = UNSET
    """The verdicts of the rules of the index about the files."""


def select_files(files: Iterable[tuple[str, ProjectName, str, str]]) -> BundleSelection:
    """``files``: namespace, project, filename, digest."""
    found: dict[str, dict[ProjectName, set[tuple[str, str]]]] = {}
    for namespace, project, filename, digest in files:
        found.setdefault(namespace, {}).setdefault(project, set()).add((filename, digest))
    return BundleSelection(
        {
            namespace: {project: frozenset(names) for project, names in projects.items()}
            for namespace, projects in found.items()
        }
    )


async def select_needed(
    records: Records, origins: Mapping[str, UpstreamOrigin], needs: ResolvedFiles
) -> tuple[BundleSelection, list[NeededFile]]:
    """The selection of resolved files, and the private files, which the cache does not have.

    ``origins``: by name of the index.
    """
    places = [(await _namespace_of(records, origins, need), need) for need in needs.files]
    private = [need for namespace, need in places if namespace is None]
    found = select_files(
        (namespace, need.project, need.filename, need.digest)
        for namespace, need in places
        if namespace is not None
    )
    files: dict[str, dict[ProjectName, SelectedFiles]] = {}
    for namespace in {origin.namespace for origin in origins.values()}:
        pages = dict.fromkeys(
            await _cached_projects(records, namespace) & set(needs.pages), _NO_FILES
        )
        files[namespace] = {**pages, **found.files.get(namespace, {})}
    return BundleSelection(files), private


async def _namespace_of(
    records: Records, origins: Mapping[str, UpstreamOrigin], need: NeededFile
) -> str | None:
    """Of the index that has the file: of a merged page, the first that has stored it."""
    found = [origins[name].namespace for name in need.indexes if name in origins]
    for namespace in found[:-1]:
        cached = CachedFiles(records, namespace)
        if await cached.get(need.project, need.digest, need.filename):
            return namespace
    return found[-1] if found else None


async def select_everything(records: Records, namespaces: Sequence[str]) -> BundleSelection:
    """All pages and files of these indexes."""
    return BundleSelection(
        {each: dict.fromkeys(await _cached_projects(records, each)) for each in namespaces}
    )


async def select_projects(
    records: Records, namespaces: Sequence[str], projects: Iterable[ProjectName]
) -> BundleSelection:
    """All pages and files of these projects. Raises ``NoSuchProject``."""
    known = {each: await _cached_projects(records, each) for each in namespaces}
    wanted = set(projects)
    for project in sorted(wanted):
        if not any(project in found for found in known.values()):
            raise NoSuchProject(project, "the cache has no page or file of it")
    return BundleSelection({each: dict.fromkeys(known[each] & wanted) for each in namespaces})


async def _cached_projects(records: Records, namespace: str) -> set[ProjectName]:
    kinds = [kind for kind in RecordKind if kind.is_carried and kind.is_by_project]
    keys = [key for kind in kinds for key in await records.keys(kind, namespace)]
    return {ProjectName(key.project) for key in keys}


class DeltaBase(msgspec.Struct, frozen=True):
    digest: str
    """The sha256 of the manifest."""
    manifest: Manifest


class BaseContent:
    """The content of the base of a delta, which the delta omits and its import requires."""

    def __init__(self, base: DeltaBase | None) -> None:
        self.files: frozenset[str] = frozenset()
        """By sha256."""
        self._documents: frozenset[object] = frozenset()
        if base is None:
            return
        found = base.manifest
        urls = [origin.url for origin in found.indexes]
        self.files = frozenset(each.sha256 for each in found.files)
        self._documents = frozenset(
            (urls[each.index], each.key[1:], each.sha256)
            for each in chain[BundledPage | BundledFile](found.pages, found.provenance)
        )

    def has(self, url: str, entry: BundledPage | BundledFile) -> bool:
        """Whether the base lists this page or provenance of that index with the same content."""
        return (url, entry.key[1:], entry.sha256) in self._documents


def read_base(path: Path) -> DeltaBase:
    """Read the manifest of a bundle, from the bundle or a file with the manifest alone.

    Raises ``BadBundle`` and ``BundleIOError``.
    """
    try:
        with path.open("rb") as file:
            if file.read(1) == b"{":
                file.seek(0)
                data = file.read(MAX_MANIFEST_SIZE + 1)
                return DeltaBase(sha256(data), read_manifest(data))
            file.seek(0)
            bundle = Bundle(ByteSource(file))
            return DeltaBase(bundle.digest, bundle.manifest)
    except BadBundle as error:
        raise BadBundle(f"{path}: {error.problem}") from error
    except OSError as error:
        raise BundleIOError(f"{path} cannot be read", error) from error
