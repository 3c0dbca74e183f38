"""``waystation export``: a static index as plain files, for any web server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import settings_options
from proxy.cli.source_options import (
    print_missing,
    read_sources,
    source_options,
    take_source_options,
)
from proxy.composition import Proxy, cache_folder, open_proxy, resolve_tree
from proxy.config import LocalTable, Settings, load_settings
from proxy.errors import ConfigurationError, how_to_add
from proxy.export import (
    LOGO_SUFFIXES,
    ExportOptions,
    ExportResult,
    ExportSelection,
    Placement,
    Site,
    Tree,
    can_render,
    export,
    flat_links,
    listed_links,
    open_directory,
    parse_base_url,
    read_file_list,
    read_logo,
    select_distributions,
    tree_links,
)
from proxy.indexes import Fallthrough, Index
from proxy.model import normalize
from proxy.requirements import needed_files
from proxy.runtime import count_text
from proxy.warm import choose_display

_FILE_OR_DASH = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
_FILE = click.Path(path_type=Path, exists=True, dir_okay=False)
_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


@click.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@source_options
@click.option("--all", "everything", is_flag=True, help="Everything in the cache, and --local.")
@click.option("--local", is_flag=True, help="Everything in the private directories.")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="Everything cached for this project. Repeatable.",
)
@click.option(
    "--from",
    "bare",
    type=_FOLDER,
    metavar="DIR",
    help="Every file in this directory.",
)
@click.option(
    "--names",
    type=_FILE_OR_DASH,
    metavar="FILE",
    help="A list of files that are stored elsewhere. Each line is a filename, or a JSON object"
    " with filename, hash, size, requires-python, upload-time, yanked, core-metadata, url."
    ' "-": standard input.',
)
@click.option(
    "--base-url",
    metavar="URL",
    help="Pages link to URL/FILENAME, and no file is written. With --link, files are written to"
    " DIR/files, to be moved to URL.",
)
@click.option(
    "--link",
    type=click.Choice([how.value for how in Placement]),
    help="How to put files into DIR. Default: hard links, or copies if links are not possible.",
)
@click.option(
    "--title", default="Package index", help="Title of HTML pages. Default: Package index."
)
@click.option(
    "--logo",
    type=_FILE,
    metavar="FILE",
    help=f"Image at the top of HTML pages, up to 1 MiB: {', '.join(LOGO_SUFFIXES)}.",
)
@click.option("--verify", is_flag=True, help="Hash also the files that already are in DIR.")
@settings_options
def command(
    folder: Path,
    base_url: str | None,
    link: str | None,
    title: str,
    logo: Path | None,
    verify: bool,
    config: Path | None,
    everything: bool,
    local: bool,
    projects: tuple[str, ...],
    bare: Path | None,
    names: Path | None,
    **flags: Any,
) -> None:
    """Write a static index into DIR: index pages, files, and HTML pages for people.

    Name sources, or give one of --all, --local, --project, --from and --names. Sources and
    targets are those of "warm", which must be run before: nothing is fetched.

    A repeated export writes what changed and deletes what is no longer exported. If something
    is not in the cache, nothing is written and the exit status is 1.
    """
    names = Path("/dev/stdin") if names == Path("-") else names
    asked = ExportRequest(everything, local, bare, names, projects, take_source_options(flags))
    asked.check()
    if names and link:
        raise click.UsageError("--link cannot be used with --names: the files are stored elsewhere")
    settings = load_settings(flags, config).settings
    check_place(folder, settings, asked)
    site = read_logo(title, logo) if logo else Site(title)
    base = None if base_url is None else parse_base_url(base_url)
    tree = Tree(folder.absolute(), verify=verify)
    try:
        done = asyncio.run(_export(tree, _form(base, link, site, names), settings, asked, base))
    except OSError as error:
        where = error.filename2 or error.filename  # the destination of a copy
        raise click.ClickException(f"{where}: {error.strerror}") from error
    _report(folder, done)


def _form(base: str | None, link: str | None, site: Site, names: Path | None) -> ExportOptions:
    how = Placement(link) if link else None if base or names else Placement.HARD
    if names:
        return ExportOptions(how, listed_links, site)
    return ExportOptions(how, flat_links(base) if base and how is None else tree_links(base), site)


async def _export(
    tree: Tree, form: ExportOptions, settings: Settings, asked: ExportRequest, base: str | None
) -> ExportResult:
    async with opened(asked, settings, base) as source:
        return await export(source.index, tree, form, source.selection)


def _report(folder: Path, done: ExportResult) -> None:
    changes = done.changes
    files, projects = count_text(done.files, "distribution"), count_text(done.projects, "project")
    click.echo(f"{folder}: {files} of {projects}")
    written = count_text(changes.written, "file")
    click.echo(f"{written} written, {changes.unchanged} unchanged, {changes.removed} removed")
    if not can_render():
        click.echo(f"descriptions are plain text; to render them, {how_to_add('export')}")


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What to export; exactly one of these is set."""

    everything: bool = False
    local: bool = False
    bare: Path | None = None
    names: Path | None = None
    projects: tuple[str, ...] = ()
    sources: Mapping[str, Any] = field(default_factory=dict)
    """As ``read_sources`` takes them."""

    def check(self) -> None:
        """Raises ``click.UsageError``."""
        by_source = bool(self.sources["sources"] or self.sources["logs"])
        ways = (self.everything, self.local, self.bare, self.names, self.projects, by_source)
        if [bool(way) for way in ways].count(True) != 1:
            raise click.UsageError(
                "name sources, or give one of --all, --local, --project, --from and --names"
            )
        if not by_source and any(self.sources.values()):
            raise click.UsageError("options such as --platform need a SOURCE, and none is named")


@dataclass(frozen=True, slots=True)
class Opened:
    index: Index
    selection: ExportSelection | None = None
    """None: everything in the index."""


@asynccontextmanager
async def opened(
    asked: ExportRequest, settings: Settings, base: str | None
) -> AsyncIterator[Opened]:
    """The index to export, always offline. ``base``: the address of the files of ``names``.

    Raises ``ConfigurationError`` and ``InvalidFileList``; ``SystemExit`` after printing what is
    missing for the sources.
    """
    if asked.names:
        yield Opened(await asyncio.to_thread(read_file_list, asked.names, base))
    elif asked.bare:
        async with open_directory(asked.bare, legacy=settings.legacy_files) as directory:
            yield Opened(directory)
    else:
        by_name = not (asked.everything or asked.local)
        offline = {"offline": True, "offline_list_all": by_name and not asked.projects}
        async with open_proxy(settings.model_copy(update=offline)) as proxy:
            index = _private(proxy) if asked.local else proxy.index
            selection = await _selection(index, asked) if by_name else None
            yield Opened(index, selection)


def check_place(folder: Path, settings: Settings, asked: ExportRequest) -> None:
    """Raises ``ConfigurationError`` if the tree would be inside one of its sources."""
    tables = (node.table for node in resolve_tree(settings).leaves)
    taken = {"the cache": cache_folder(settings)}
    taken |= {f"the directory {t.path}": t.path for t in tables if isinstance(t, LocalTable)}
    taken |= {f"the directory {asked.bare}": asked.bare} if asked.bare else {}
    for what, path in taken.items():
        if folder.resolve().is_relative_to(path.resolve()):
            raise ConfigurationError("DIR", f"{folder} is inside {what}", "name another directory")


def _private(proxy: Proxy) -> Index:
    there = [directory for directory in proxy.directories if directory.is_there]
    if not there:
        raise ConfigurationError(
            "packages", "there is no private directory", "name one with --packages"
        )
    return Fallthrough("local", there)


async def _selection(index: Index, asked: ExportRequest) -> ExportSelection:
    if asked.projects:
        return _by_name(asked.projects)
    wanted, file_filter = read_sources(**asked.sources)
    needs = await needed_files(index, wanted, file_filter, say=choose_display().say)
    for note in needs.notes:
        click.echo(f"note: {note}", err=True)
    if count := len(needs.missing) + len(needs.skipped):
        click.echo(f"nothing is exported: {count} missing; run `waystation warm` first", err=True)
        print_missing(needs.missing, needs.skipped)
        raise SystemExit(1)
    return select_distributions((need.project, need.filename) for need in needs.files)


def _by_name(projects: Iterable[str]) -> ExportSelection:
    try:
        return {normalize(each): None for each in projects}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
