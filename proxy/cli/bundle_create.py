"""``waystation bundle create``: out of a cache, what some builds need, or all of it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxy.bundle import (
    BundleSelection,
    Created,
    NothingCached,
    create_bundle,
    load_signer,
    read_base,
    select_everything,
    select_needed,
    select_projects,
)
from proxy.cli.bundle_report import (
    DASH,
    READABLE,
    WRITABLE,
    created_lines,
    json_option,
    made,
    print_json,
    progress,
)
from proxy.cli.options import settings_options
from proxy.cli.source_options import (
    log_errors_only,
    print_missing,
    print_missing_list,
    read_sources,
    source_options,
    take_source_options,
)
from proxy.composition import cache_folder, leaves, mirrored, open_cache, open_proxy, resolve_tree
from proxy.config import LocalTable, Settings, load_settings
from proxy.model import normalize
from proxy.requirements import ResolvedFiles, needed_files
from proxy.upstream import UpstreamOrigin
from proxy.warm import find_missing


@click.command("create")
@click.argument("file", type=WRITABLE)
@source_options
@settings_options
@click.option("--all", "everything", is_flag=True, help="All that the cache holds.")
@click.option(
    "--project", "projects", multiple=True, metavar="NAME", help="All that is held of a project."
)
@click.option(
    "--since",
    type=READABLE,
    metavar="BUNDLE",
    help="Leave out what this bundle, or the manifest of one, lists: it has to be imported first.",
)
@click.option("--sign", type=READABLE, metavar="KEY", help="Sign it with this private key.")
@json_option
def create_command(
    file: Path,
    everything: bool,
    projects: tuple[str, ...],
    since: Path | None,
    sign: Path | None,
    as_json: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Write into FILE what the sources need, or with --all or --project what the cache has.

    Sources and targets are those of "warm", which has to be run before: nothing is fetched. Of
    each project there are its page as upstream sent it, files, metadata and provenance. The
    same content gives the same bytes. Exit status 1 if something that is needed is not in the
    cache: then nothing is written. With "-" for FILE the report goes to standard error.
    """
    source_flags = take_source_options(flags)
    to = None if file == DASH else file
    if to is None and sys.stdout.isatty():
        raise click.UsageError("a bundle is not for a terminal: name a file, or pipe it on")
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    origins = mirrored(settings)
    selection = asyncio.run(_selected(settings, origins, source_flags, everything, projects))
    if not any(selection.files.values()):
        raise NothingCached(cache_folder(settings), [origin.url for origin in origins.values()])
    base = read_base(since) if since else None
    signer = load_signer(sign) if sign else None

    async def run() -> Created:
        async with open_cache(settings) as cache:
            found = list(dict.fromkeys(origins.values()))
            return await create_bundle(
                cache, found, selection, to, progress, base=base, signer=signer
            )

    done = asyncio.run(run())
    for line in done.left_out:
        click.echo(f"left out, not there any more: {line}", err=True)
    if as_json:
        print_json(made(done), err=to is None)
    else:
        click.echo("\n".join(created_lines(done, file)), err=to is None)


async def _selected(
    settings: Settings,
    origins: Mapping[str, UpstreamOrigin],
    source_flags: dict[str, Any],
    everything: bool,
    projects: tuple[str, ...],
) -> BundleSelection:
    sources = bool(source_flags["sources"] or source_flags["logs"])
    if [sources, everything, bool(projects)].count(True) != 1:
        raise click.UsageError("name sources, or projects with --project, or say --all")
    if not sources and any(source_flags.values()):
        raise click.UsageError("options such as --platform are for sources, and none is named")
    if sources:
        return await _needed(settings, origins, source_flags)
    namespaces = [origin.namespace for origin in origins.values()]
    async with open_cache(settings) as cache:
        if everything:
            _tell_private(settings)
            return await select_everything(cache.records, namespaces)
        return await select_projects(cache.records, namespaces, _names(projects))


async def _needed(
    settings: Settings, origins: Mapping[str, UpstreamOrigin], source_flags: dict[str, Any]
) -> BundleSelection:
    """By what is held, without a network: so the far side comes to the same."""
    wanted, file_filter = read_sources(**source_flags)
    offline = settings.model_copy(update={"offline": True, "offline_list_all": True})
    async with open_proxy(offline) as proxy:
        needs = await needed_files(proxy.index, wanted, file_filter)
        unheld = await find_missing(proxy.index, proxy.cache.store, needs.files)
    lacks = [*needs.missing, *unheld]
    if count := len(lacks) + len(needs.skipped):
        click.echo(f"nothing is written: {count} missing; `waystation warm` fetches", err=True)
        print_missing(lacks, needs.skipped)
        print_missing_list(lack.line for lack in lacks)
        raise SystemExit(1)
    return await _held(settings, origins, needs)


async def _held(
    settings: Settings, origins: Mapping[str, UpstreamOrigin], needs: ResolvedFiles
) -> BundleSelection:
    async with open_cache(settings) as cache:
        selection, private = await select_needed(cache.records, origins, needs)
    for need in private:
        click.echo(f"private, so not in the bundle: {need.filename}", err=True)
    return selection


def _tell_private(settings: Settings) -> None:
    for leaf in leaves(resolve_tree(settings)):
        if isinstance(leaf.table, LocalTable) and leaf.table.path.is_dir():
            click.echo(f"private, so not in the bundle: the directory {leaf.table.path}", err=True)


def _names(projects: tuple[str, ...]) -> list[Any]:
    try:
        return [normalize(each) for each in projects]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
