"""``waystation ready``: check that the cache has everything that builds need."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec

from proxy.cli.options import settings_options
from proxy.cli.source_options import (
    json_summary,
    log_errors_only,
    print_missing,
    print_missing_list,
    read_sources,
    source_options,
    take_source_options,
)
from proxy.config import load_settings
from proxy.requirements import FileFilter, SourceRequirements, missing_lines
from proxy.runtime import count_text, size_text
from proxy.warm import Readiness, choose_display, ready


@click.command("ready")
@source_options
@settings_options
@click.option("--verify", is_flag=True, help="Hash every file again; delete damaged files.")
@click.option(
    "--install",
    is_flag=True,
    help="Also install everything for this machine, into a temporary environment.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report in JSON.")
def command(
    config: Path | None, verify: bool, install: bool, quiet: bool, as_json: bool, **flags: Any
) -> None:
    """Check, without a network, that the cache has everything that the sources need.

    Sources and targets are those of "warm". If nothing is missing, the sources are also resolved
    offline. Exit status 1 if something is missing.

    Reports go to standard error. If standard output is a file or a pipe, it gets the list of
    what is missing, in a form that "waystation warm -" reads: waystation ready ... | waystation
    warm -
    """
    source_flags = take_source_options(flags)
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    wanted, file_filter = read_sources(**source_flags)
    work = ready(
        settings, wanted, file_filter, choose_display(quiet=quiet), verify=verify, install=install
    )
    readiness = asyncio.run(work)
    _print_report(readiness, wanted, file_filter, quiet=quiet, as_json=as_json)
    raise SystemExit(0 if readiness.complete else 1)


def _print_report(
    readiness: Readiness,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    needs = readiness.needs
    if as_json:
        summary: dict[str, Any] = {
            "complete": readiness.complete,
            "installed": readiness.installed,
        }
        click.echo(
            msgspec.json.encode(summary | json_summary(needs, file_filter, readiness.missing))
        )
    if not quiet:
        click.echo(_total(readiness), err=True)
        for target in file_filter.targets:
            click.echo(f"  {target}", err=True)
        for each in needs.notes:
            click.echo(f"note: {each}", err=True)
    print_missing(readiness.missing, needs.skipped)
    if not as_json:
        print_missing_list(missing_lines(needs, readiness.missing, wanted, file_filter))
    if readiness.missing and not quiet:
        click.echo("`waystation warm` with the same arguments fetches what is missing", err=True)


def _total(readiness: Readiness) -> str:
    files = readiness.needs.files
    if readiness.complete:
        size = size_text(readiness.needs.size)
        return f"ready: {count_text(len(files), 'file')}, {size}, all in the cache, for"
    return f"not ready: {len(readiness.missing) + len(readiness.needs.skipped)} missing, for"
