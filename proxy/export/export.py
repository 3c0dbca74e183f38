"""Export an index, or a selection of its files, as a static tree."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec

from proxy.distributions import Description, describe
from proxy.export.change_log import CHANGES_PAGE, FEED, load_change_log, save_change_log
from proxy.export.contents import (
    ExportedFile,
    read_description_metadata,
    sibling_contents,
    with_siblings,
    without_siblings,
)
from proxy.export.human_pages import START_PAGE, Card, Site, project_page, project_path, start_page
from proxy.export.placing import Placement
from proxy.export.selection import (
    ExportSelection,
    SelectedProject,
    select,
)
from proxy.export.simple_pages import (
    PROJECT_LISTS,
    file_path,
    file_paths,
    page_paths,
    project_lists,
    project_pages,
)
from proxy.export.tree import Changes, Tree
from proxy.indexes import Index
from proxy.model import ProjectName, normalize
from proxy.presentation import ReadmeRenderer
from proxy.releases import (
    ProjectRelease,
    group_by_release,
    json_documents,
    json_paths,
    newest_release,
)
from proxy.runtime import in_thread
from proxy.simple import Links, relative_links


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of a tree."""

    placement: Placement | None = Placement.HARD
    """None: files are not written, as they are at addresses elsewhere."""
    links: Links = relative_links
    site: Site = field(default_factory=Site)
    """The text at the top of the pages for people."""


@dataclass(frozen=True, slots=True)
class ExportResult:
    projects: int
    files: int
    """Distributions."""
    changes: Changes


async def export(
    index: Index,
    tree: Tree,
    options: ExportOptions,
    selection: ExportSelection | None = None,
    clock: Callable[[], float] = time.time,
) -> ExportResult:
    """Write the selection, or all of the index, and remove other files of earlier exports.

    Files are written first and project lists last, so that clients find every file of a page.
    ``clock`` gives Unix time in seconds, for the change log.
    Raises ``NotCached``, ``ForeignFile``, ``FileAltered``,
    ``ConfigurationError``, ``OSError`` and what the index raises.
    """
    with TemporaryDirectory(prefix="waystation-") as unpacked:
        cached_only = options.placement is not None
        projects = await select(index, selection, Path(unpacked), cached_only=cached_only)
        changes = await _write(index, tree, options, projects, clock)
    return ExportResult(len(projects), sum(len(each.files) for each in projects), changes)


async def _write(
    index: Index,
    tree: Tree,
    options: ExportOptions,
    projects: Sequence[SelectedProject],
    clock: Callable[[], float],
) -> Changes:
    with tree:
        await in_thread(tree.announce, _paths_to_write(projects, options))
        async with ReadmeRenderer() as readme:
            cards = [await _export_project(index, tree, options, each, readme) for each in projects]
        await in_thread(_write_lists, tree, cards, options)
        return await in_thread(_finish, tree, projects, options, clock())


def _paths_to_write(projects: Sequence[SelectedProject], options: ExportOptions) -> Iterator[str]:
    """All paths that may be written."""
    yield from (START_PAGE, *PROJECT_LISTS, CHANGES_PAGE, FEED)
    if options.site.logo:
        yield options.site.logo_path
    for selected in projects:
        project = selected.page.project
        yield from (*page_paths(project), project_path(project))
        yield from json_paths(
            project, group_by_release(project, (each.file for each in selected.files))
        )
        for each in selected.files if options.placement else ():
            assert each.content is not None
            hashes = {"sha256": each.content.sha256}
            yield from file_paths(project, msgspec.structs.replace(each.file, hashes=hashes))


async def _export_project(
    index: Index,
    tree: Tree,
    options: ExportOptions,
    selected: SelectedProject,
    readme: ReadmeRenderer,
) -> Card:
    """Write the pages and files of a project."""
    page = selected.page
    if options.placement is None:
        files = [without_siblings(each) for each in selected.files]
    else:
        files = [await with_siblings(index, page.project, each) for each in selected.files]
    found = group_by_release(page.project, (each.file for each in files))
    metadata = await in_thread(_read_metadata, selected, files, found)
    latest = newest_release(found)
    description = _describe(page.project, metadata.get(latest.version))
    text = await readme.render(description.text, description.content_type)
    written = project_pages(page, [each.file for each in files], options.links)
    written[project_path(page.project)] = project_page(
        page, found, description, text, options.links, options.site
    )
    written |= json_documents(page.project, found, metadata, options.links)
    await in_thread(_write_project, tree, options, page.project, files, written)
    return Card(page.project, description.name or page.project, latest.version, description.summary)


def _read_metadata(
    selected: SelectedProject, files: Sequence[ExportedFile], found: Sequence[ProjectRelease]
) -> dict[str, bytes]:
    """By version: of the first file of the release that has metadata, wheels first.

    Blocks on the disk.
    """
    chosen = {each.file.filename: each for each in selected.files}
    known = {each.file.filename: each.metadata for each in files}
    metadata: dict[str, bytes] = {}
    for release in found:
        for file in release.files:
            data = known[file.filename] or read_description_metadata(chosen[file.filename])
            if data:
                metadata[release.version] = data
                break
    return metadata


def _describe(project: ProjectName, metadata: bytes | None) -> Description:
    description = describe(metadata) if metadata else Description()
    fits = _is_spelling(description.name, project)
    return description if fits else replace(description, name="")


def _is_spelling(name: str, project: ProjectName) -> bool:
    try:
        return normalize(name) == project
    except ValueError:
        return False


def _write_project(
    tree: Tree,
    options: ExportOptions,
    project: ProjectName,
    files: Sequence[ExportedFile],
    pages: dict[str, bytes],
) -> None:
    for each in files:
        if options.placement is not None and each.content is not None:
            path = file_path(project, each.file)
            tree.place(path, each.content, options.placement)
            for suffix, data in sibling_contents(each).items():
                tree.write(path + suffix, data)
    for path, data in pages.items():
        tree.write(path, data)


def _write_lists(tree: Tree, cards: Sequence[Card], options: ExportOptions) -> None:
    if options.site.logo:
        tree.write(options.site.logo_path, options.site.logo)
    tree.write(START_PAGE, start_page(cards, options.site))
    for path, data in project_lists([card.project for card in cards]).items():
        tree.write(path, data)


def _finish(
    tree: Tree, projects: Sequence[SelectedProject], options: ExportOptions, now: float
) -> Changes:
    """Write the change log, and remove what is no longer exported."""
    changes = load_change_log(tree)
    changes.update(dict(_listed(projects)), now)
    for path, data in changes.pages(options.site).items():
        tree.write(path, data)
    done = tree.finish()
    save_change_log(tree, changes)
    return done


def _listed(projects: Sequence[SelectedProject]) -> Iterator[tuple[str, str]]:
    """Each distribution as ``project/filename``, with its digest."""
    for selected in projects:
        for each in selected.files:
            digest = each.content.sha256 if each.content else each.file.address_digest
            yield f"{selected.page.project}/{each.file.filename}", digest
