"""Export an index, or a selection of its files, as a static tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from proxy.distributions import Description, describe
from proxy.export.contents import (
    ExportedFile,
    read_description_metadata,
    sibling_contents,
    with_siblings,
    without_siblings,
)
from proxy.export.human_pages import START_PAGE, Card, project_page, project_path, start_page
from proxy.export.placing import Placement
from proxy.export.readme import ReadmeRenderer
from proxy.export.selection import (
    ExportSelection,
    Release,
    SelectedProject,
    group_by_release,
    newest_release,
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
from proxy.runtime import in_thread
from proxy.simple import Links, relative_links


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """Options of a tree."""

    placement: Placement | None = Placement.HARD
    """None: files are not written, as they are at addresses elsewhere."""
    links: Links = relative_links
    site: str = "Package index"
    """The title of the pages for people."""


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
) -> ExportResult:
    """Write the selection, or all of the index, and remove what earlier exports wrote besides.

    Files are written first and project lists last, so that clients find every file of a page.
    Raises ``NotCached``, ``ForeignFile``, ``FileAltered``,
    ``ConfigurationError``, ``OSError`` and what the index raises.
    """
    projects = await select(index, selection, cached_only=options.placement is not None)
    with tree:
        await in_thread(tree.announce, _paths_to_write(projects, options))
        async with ReadmeRenderer() as readme:
            cards = [await _export_project(index, tree, options, each, readme) for each in projects]
        await in_thread(_write_lists, tree, cards, options)
        changes = await in_thread(tree.finish)
    return ExportResult(len(projects), sum(len(each.files) for each in projects), changes)


def _paths_to_write(projects: Sequence[SelectedProject], options: ExportOptions) -> Iterator[str]:
    """All paths that may be written."""
    yield from (START_PAGE, *PROJECT_LISTS)
    for selected in projects:
        project = selected.page.project
        yield from (*page_paths(project), project_path(project))
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
    latest = newest_release(found)
    description = await in_thread(_read_description, selected, latest)
    text = await readme.render(description.text, description.content_type)
    written = project_pages(page, [each.file for each in files], options.links)
    written[project_path(page.project)] = project_page(
        page, found, description, text, options.links, options.site
    )
    await in_thread(_write_project, tree, options, page.project, files, written)
    return Card(page.project, description.name or page.project, latest.version, description.summary)


def _read_description(selected: SelectedProject, latest: Release) -> Description:
    """From the first file of the release that has metadata, wheels first. Blocks on the disk."""
    chosen = {each.file.filename: each for each in selected.files}
    for file in latest.files:
        if metadata := read_description_metadata(chosen[file.filename]):
            description = describe(metadata)
            fits = _is_spelling(description.name, selected.page.project)
            return description if fits else replace(description, name="")
    return Description()


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
    tree.write(START_PAGE, start_page(cards, options.site))
    for path, data in project_lists([card.project for card in cards]).items():
        tree.write(path, data)
