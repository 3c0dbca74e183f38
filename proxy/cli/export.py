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
from proxy.cli.tree_options import (
    check_place,
    print_export,
    read_tree_options,
    take_tree_options,
    tree_options,
    writing_to,
)
from proxy.composition import Proxy, open_proxy
from proxy.config import Settings, load_settings
from proxy.errors import ConfigurationError
from proxy.export import (
    ExportOptions,
    ExportResult,
    ExportSelection,
    Tree,
    export,
    open_directory,
    parse_base_url,
    read_file_list,
    select_distributions,
)
from proxy.indexes import Fallthrough, Index
from proxy.model import normalize
from proxy.requirements import needed_files
from proxy.warm import choose_display

_FILE_OR_DASH = click.Path(path_type=Path, exists=True, dir_okay=False, allow_dash=True)
_EXISTING_FOLDER = click.Path(path_type=Path, exists=True, file_okay=False)


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
    type=_EXISTING_FOLDER,
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
@tree_options
@settings_options
def command(
    folder: Path,
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
    tree_flags = take_tree_options(flags)
    if names and tree_flags["link"]:
        raise click.UsageError("--link cannot be used with --names: the files are stored elsewhere")
    settings = load_settings(flags, config).settings
    check_place(folder, settings, {f"the directory {bare}": bare} if bare else {})
    options = read_tree_options(**tree_flags, listed=names is not None)
    base = None if tree_flags["base_url"] is None else parse_base_url(tree_flags["base_url"])
    with writing_to(folder, verify=tree_flags["verify"]) as tree:
        done = asyncio.run(_export(tree, options, settings, asked, base))
    print_export(folder, done)


async def _export(
    tree: Tree, options: ExportOptions, settings: Settings, asked: ExportRequest, base: str | None
) -> ExportResult:
    async with opened(asked, settings, base) as source:
        return await export(source.index, tree, options, source.selection)


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """The source of an export; exactly one of these is set."""

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
