"""``waystation ready``: does the cache have all that some builds need?"""

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
@click.option("--verify", is_flag=True, help="Hash every file again; delete what is damaged.")
@click.option(
    "--install",
    is_flag=True,
    help="Also install it for this machine, into a temporary environment.",
)
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Report on standard output as JSON.")
def command(
    config: Path | None, verify: bool, install: bool, quiet: bool, as_json: bool, **flags: Any
) -> None:
    """Say, without a network, whether the cache has all that the sources need, for every target.

    Sources and targets are those of "warm". Exit status 1 if something is missing. A list of
    that goes to standard output where that is no terminal: "waystation ready ... |
    waystation warm -" fetches it.
    """
    source_flags = take_source_options(flags)
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    wanted, file_filter = read_sources(**source_flags)
    work = ready(
        settings, wanted, file_filter, choose_display(quiet=quiet), verify=verify, install=install
    )
    verdict = asyncio.run(work)
    _tell(verdict, wanted, file_filter, quiet=quiet, as_json=as_json)
    raise SystemExit(0 if verdict.complete else 1)


def _tell(
    verdict: Readiness,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    *,
    quiet: bool,
    as_json: bool,
) -> None:
    needs = verdict.needs
    if as_json:
        told = {"complete": verdict.complete, "installed": verdict.installed}
        click.echo(msgspec.json.encode(told | json_summary(needs, file_filter, verdict.missing)))
    if not quiet:
        click.echo(_total(verdict), err=True)
        for target in file_filter.targets:
            click.echo(f"  {target}", err=True)
        for each in needs.notes:
            click.echo(f"note: {each}", err=True)
    print_missing(verdict.missing, needs.skipped)
    if not as_json:
        print_missing_list(missing_lines(needs, verdict.missing, wanted, file_filter))
    if verdict.missing and not quiet:
        click.echo("`waystation warm` with the same arguments fetches what is missing", err=True)


def _total(verdict: Readiness) -> str:
    files = verdict.needs.files
    if verdict.complete:
        size = size_text(verdict.needs.size)
        return f"ready: {count_text(len(files), 'file')}, {size}, all in the cache, for"
    return f"not ready: {len(verdict.missing) + len(verdict.needs.skipped)} missing, for"
