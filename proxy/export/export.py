"""One export from beginning to end: an index and a choice of its files become a tree."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import msgspec

from proxy.distributions import Description, describe
from proxy.export.contents import Shown, description_source, elsewhere, shown, siblings
from proxy.export.human_pages import START_PAGE, Card, project_page, project_path, start_page
from proxy.export.placing import How
from proxy.export.readme import Readme
from proxy.export.selection import Exhibit, ExportSelection, Release, choose, newest, releases
from proxy.export.simple_pages import PROJECT_LISTS, file_path, file_paths, lists, page_paths, pages
from proxy.export.tree import Changes, Tree
from proxy.indexes import Index
from proxy.model import ProjectName, normalize
from proxy.runtime import in_thread
from proxy.simple import Links, relative_links


@dataclass(frozen=True, slots=True)
class Form:
    """What a tree is like."""

    how: How | None = How.HARD
    """None: files are not written, and are elsewhere."""
    links: Links = relative_links
    site: str = "Package index"
    """The title of the pages for people."""


@dataclass(frozen=True, slots=True)
class Exported:
    projects: int
    files: int
    """Distributions."""
    changes: Changes


async def export(
    index: Index,
    tree: Tree,
    form: Form,
    selection: ExportSelection | None = None,
) -> Exported:
    """Make the folder hold the selection, or all of the index, and nothing else of ours.

    Files come first and lists last, so that whoever reads meanwhile finds what a page names.
    Raises ``NotHeld``, ``ForeignFile``, ``FileAltered``,
    ``ConfigurationError``, ``OSError`` and what the index raises.
    """
    exhibits = await choose(index, selection, held=form.how is not None)
    with tree:
        await in_thread(tree.announce, _paths(exhibits, form))
        async with Readme() as readme:
            cards = [await _project(index, tree, form, each, readme) for each in exhibits]
        await in_thread(_write_lists, tree, cards, form)
        changes = await in_thread(tree.finish)
    return Exported(len(exhibits), sum(len(each.files) for each in exhibits), changes)


def _paths(exhibits: Sequence[Exhibit], form: Form) -> Iterator[str]:
    """All that may be written."""
    yield from (START_PAGE, *PROJECT_LISTS)
    for exhibit in exhibits:
        project = exhibit.page.project
        yield from (*page_paths(project), project_path(project))
        for each in exhibit.files if form.how else ():
            assert each.content is not None
            hashes = {"sha256": each.content.sha256}
            yield from file_paths(project, msgspec.structs.replace(each.file, hashes=hashes))


async def _project(index: Index, tree: Tree, form: Form, exhibit: Exhibit, readme: Readme) -> Card:
    """Write all of a project."""
    page = exhibit.page
    if form.how is None:
        files = [elsewhere(each) for each in exhibit.files]
    else:
        files = [await shown(index, page.project, each) for each in exhibit.files]
    found = releases(page.project, (each.file for each in files))
    latest = newest(found)
    told = await in_thread(_description, exhibit, latest)
    text = await readme.html(told.text, told.content_type)
    written = pages(page, [each.file for each in files], form.links)
    written[project_path(page.project)] = project_page(
        page, found, told, text, form.links, form.site
    )
    await in_thread(_write, tree, form, page.project, files, written)
    return Card(page.project, told.name or page.project, latest.version, told.summary)


def _description(exhibit: Exhibit, latest: Release) -> Description:
    """What the first file of the version tells; wheels come first. Blocks on the disk."""
    chosen = {each.file.filename: each for each in exhibit.files}
    for file in latest.files:
        if metadata := description_source(chosen[file.filename]):
            told = describe(metadata)
            return told if _is_spelling(told.name, exhibit.page.project) else replace(told, name="")
    return Description()


def _is_spelling(name: str, project: ProjectName) -> bool:
    try:
        return normalize(name) == project
    except ValueError:
        return False


def _write(
    tree: Tree, form: Form, project: ProjectName, files: Sequence[Shown], pages: dict[str, bytes]
) -> None:
    for each in files:
        if form.how is not None and each.content is not None:
            path = file_path(project, each.file)
            tree.place(path, each.content, form.how)
            for suffix, data in siblings(each).items():
                tree.write(path + suffix, data)
    for path, data in pages.items():
        tree.write(path, data)


def _write_lists(tree: Tree, cards: Sequence[Card], form: Form) -> None:
    tree.write(START_PAGE, start_page(cards, form.site))
    for path, data in lists([card.project for card in cards]).items():
        tree.write(path, data)
