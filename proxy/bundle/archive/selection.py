"""What goes into a bundle, out of what a cache has remembered."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from proxy.bundle.needs import NeededFile, ResolvedFiles
from proxy.errors import NoSuchProject
from proxy.model import ProjectName
from proxy.storage.base import Records
from proxy.upstream.documents import UpstreamOrigin

WantedFiles = frozenset[tuple[str, str]] | None
"""Filename and digest, as in addresses, of files that all have to be held; None: whatever is."""

_KINDS = ("page", "held")
_NO_FILES: WantedFiles = frozenset()


@dataclass(frozen=True, slots=True)
class BundleSelection:
    """Projects and files by the namespace of their index."""

    files: Mapping[str, Mapping[ProjectName, WantedFiles]]
    """The page of a project goes with it, and with a distribution what is held beside it."""


def select_files(files: Iterable[tuple[str, ProjectName, str, str]]) -> BundleSelection:
    """These: namespace, project, filename, digest."""
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
    """What sources need, and of that, what is not in the cache since it is private.

    ``origins``: by the name of the index.
    """
    private = [need for need in needs.files if need.index not in origins]
    found = select_files(
        (origins[need.index].namespace, need.project, need.filename, need.digest)
        for need in needs.files
        if need.index in origins
    )
    files: dict[str, dict[ProjectName, WantedFiles]] = {}
    for namespace in {origin.namespace for origin in origins.values()}:
        pages = dict.fromkeys(await _projects(records, namespace) & set(needs.pages), _NO_FILES)
        files[namespace] = {**pages, **found.files.get(namespace, {})}
    return BundleSelection(files), private


async def select_everything(records: Records, namespaces: Sequence[str]) -> BundleSelection:
    """All that is remembered of these indexes."""
    return BundleSelection(
        {each: dict.fromkeys(await _projects(records, each)) for each in namespaces}
    )


async def select_projects(
    records: Records, namespaces: Sequence[str], projects: Iterable[ProjectName]
) -> BundleSelection:
    """All that is remembered of these projects. Raises ``NoSuchProject``."""
    known = {each: await _projects(records, each) for each in namespaces}
    wanted = set(projects)
    for project in sorted(wanted):
        if not any(project in found for found in known.values()):
            raise NoSuchProject(project, "nothing of it is in the cache")
    return BundleSelection({each: dict.fromkeys(known[each] & wanted) for each in namespaces})


async def _projects(records: Records, namespace: str) -> set[ProjectName]:
    keys = [key for kind in _KINDS for key in await records.keys(f"{kind}/{namespace}/")]
    return {ProjectName(key.split("/")[2]) for key in keys}
