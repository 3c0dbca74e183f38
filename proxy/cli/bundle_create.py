"""``waystation bundle create``: a bundle of what builds need, or of the whole cache."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from proxy.bundle import (
    BundleSelection,
    CreatedBundle,
    NothingCached,
    create_bundle,
    judge_selection,
    load_signer,
    read_base,
    select_everything,
    select_needed,
    select_projects,
)
from proxy.cli.bundle_report import (
    READABLE,
    STANDARD_STREAM,
    WRITABLE,
    created_lines,
    json_option,
    made,
    print_json,
    progress,
    refused_lines,
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
from proxy.composition import (
    Proxy,
    mirrored,
    open_cache,
    open_proxy,
    resolve_tree,
)
from proxy.config import LocalTable, Settings, cache_folder, load_settings
from proxy.indexes import is_zip
from proxy.model import normalize
from proxy.requirements import needed_files
from proxy.upstream import UpstreamOrigin
from proxy.warm import find_missing


@click.command("create")
@click.argument("file", type=WRITABLE)
@source_options
@settings_options
@click.option("--all", "everything", is_flag=True, help="Everything in the cache.")
@click.option(
    "--project",
    "projects",
    multiple=True,
    metavar="NAME",
    help="Everything cached for this project. Repeatable.",
)
@click.option(
    "--since",
    type=READABLE,
    metavar="BUNDLE",
    help="Omit what this bundle or manifest lists; it must be imported first.",
)
@click.option("--sign", type=READABLE, metavar="KEY", help="Sign the bundle with this private key.")
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
    """Create a bundle from the cache.

    Name sources, or give --project or --all. Sources and targets are those of "warm", which must
    be run before: nothing is fetched. A bundle has the page of each project as upstream sent it,
    files, metadata and provenance. The same content gives the same bytes.

    Files that the rules of the index refuse are left out. The verdicts are in the manifest.

    If something that the sources need is not in the cache, nothing is written and the exit
    status is 1. With "-" for FILE the report goes to standard error.
    """
    source_flags = take_source_options(flags)
    to = None if file == STANDARD_STREAM else file
    if to is None and sys.stdout.isatty():
        raise click.UsageError("a bundle is not written to a terminal: name a file, or use a pipe")
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    origins = mirrored(settings)
    selection = asyncio.run(_selected(settings, origins, source_flags, everything, projects))
    if not any(selection.files.values()):
        raise NothingCached(cache_folder(settings), resolve_tree(settings).root.name)
    base = read_base(since) if since else None
    signer = load_signer(sign) if sign else None

    async def run() -> CreatedBundle:
        async with open_cache(settings) as cache:
            found = list(dict.fromkeys(origins.values()))
            return await create_bundle(
                cache, found, selection, to, progress, base=base, signer=signer
            )

    done = asyncio.run(run())
    for line in refused_lines(done.manifest):
        click.echo(line, err=True)
    for line in done.omitted:
        click.echo(f"omitted, no longer in the cache: {line}", err=True)
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
        raise click.UsageError("name sources, or give --project or --all, but only one of these")
    if not sources and any(source_flags.values()):
        raise click.UsageError("options such as --platform need a SOURCE, and none is named")
    offline = settings.model_copy(update={"offline": True, "offline_list_all": True})
    namespaces = [origin.namespace for origin in origins.values()]
    async with open_proxy(offline) as proxy:
        records = proxy.cache.records
        if sources:
            selection = await _needed(proxy, origins, source_flags)
        elif everything:
            _report_private(settings)
            selection = await select_everything(records, namespaces)
        else:
            selection = await select_projects(records, namespaces, _names(projects))
        policies = proxy.tree.root.policies
        return await judge_selection(proxy.index, policies, records, origins, selection)


async def _needed(
    proxy: Proxy, origins: Mapping[str, UpstreamOrigin], source_flags: dict[str, Any]
) -> BundleSelection:
    """Files that the sources need if resolved from the cache alone, as after the import."""
    wanted, file_filter = read_sources(**source_flags)
    needs = await needed_files(proxy.index, wanted, file_filter)
    unavailable = await find_missing(proxy.index, proxy.cache.store, needs.files)
    missing_files = [*needs.missing, *unavailable]
    if count := len(missing_files) + len(needs.skipped):
        click.echo(f"nothing is written: {count} missing; run `waystation warm` first", err=True)
        print_missing(missing_files, needs.skipped)
        print_missing_list(each.line for each in missing_files)
        raise SystemExit(1)
    selection, private = await select_needed(proxy.cache.records, origins, needs)
    for need in private:
        click.echo(f"private, not in the bundle: {need.filename}", err=True)
    return selection


def _report_private(settings: Settings) -> None:
    for leaf in resolve_tree(settings).leaves:
        for root in leaf.table.roots if isinstance(leaf.table, LocalTable) else ():
            if root.exists():
                kind = "archive" if is_zip(root) else "directory"
                click.echo(f"private, not in the bundle: the {kind} {root}", err=True)


def _names(projects: tuple[str, ...]) -> list[Any]:
    try:
        return [normalize(each) for each in projects]
    except ValueError as error:
        raise click.UsageError(str(error)) from None
