"""What an export is of: the index, and which of its files."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click

from proxy.bundle.gather import needed
from proxy.bundle.progress import display
from proxy.cache import cache_folder
from proxy.cli.reporting import tell_missing
from proxy.cli.source_options import read_sources
from proxy.compose import Proxy, open_proxy
from proxy.errors import ConfigurationError
from proxy.export.directory import open_directory
from proxy.export.names import read_names
from proxy.export.selection import ExportSelection, of_files
from proxy.indexes.base import Index
from proxy.indexes.fallthrough import Fallthrough
from proxy.model import normalize
from proxy.plan import leaves, resolve_tree
from proxy.settings import LocalTable, Settings


@dataclass(frozen=True, slots=True)
class ExportRequest:
    """What the command line says is to be exported; one of these is set."""

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
            raise click.UsageError("options such as --platform are for sources, and none is named")


@dataclass(frozen=True, slots=True)
class Opened:
    index: Index
    selection: ExportSelection | None = None
    """None: all of the index."""
    store: Path | None = None
    """The folder of our own store, if files come from there."""


@asynccontextmanager
async def opened(
    asked: ExportRequest, settings: Settings, base: str | None
) -> AsyncIterator[Opened]:
    """No connection is opened, whatever the settings say. ``base``: where names are found.

    Raises ``ConfigurationError``, ``UnreadableNames`` and ``SystemExit`` once it is told what
    sources need and cannot have.
    """
    if asked.names:
        yield Opened(await asyncio.to_thread(read_names, asked.names, base))
    elif asked.bare:
        async with open_directory(asked.bare, legacy=settings.legacy_files) as directory:
            yield Opened(directory)
    else:
        by_name = not (asked.everything or asked.local)
        offline = {"offline": True, "offline_list_all": by_name and not asked.projects}
        async with open_proxy(settings.model_copy(update=offline)) as proxy:
            index = _private(proxy) if asked.local else proxy.index
            selection = await _selection(index, asked) if by_name else None
            yield Opened(index, selection, proxy.cache.store.root)


def check_place(folder: Path, settings: Settings, asked: ExportRequest) -> None:
    """Raises ``ConfigurationError`` where the tree would be its own source."""
    tables = (node.table for node in leaves(resolve_tree(settings)))
    taken = {"the cache": cache_folder(settings)}
    taken |= {f"the directory {t.path}": t.path for t in tables if isinstance(t, LocalTable)}
    taken |= {f"the directory {asked.bare}": asked.bare} if asked.bare else {}
    for what, path in taken.items():
        if folder.resolve().is_relative_to(path.resolve()):
            raise ConfigurationError("DIR", f"{folder} is in {what}", "name a directory elsewhere")


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
    wants, choice = read_sources(**asked.sources)
    needs = await needed(index, wants, choice, say=display().say)
    for note in needs.notes:
        click.echo(f"note: {note}", err=True)
    if lacks := len(needs.missing) + len(needs.skipped):
        click.echo(f"nothing is exported: {lacks} missing; `waystation warm` fetches", err=True)
        tell_missing(needs.missing, needs.skipped)
        raise SystemExit(1)
    return of_files((need.project, need.filename) for need in needs.files)


def _by_name(projects: Iterable[str]) -> ExportSelection:
    try:
        return {normalize(each): None for each in projects}
    except ValueError as error:
        raise click.UsageError(str(error)) from None
