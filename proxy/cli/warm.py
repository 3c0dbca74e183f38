"""``waystation warm``: fetch everything that builds need into the cache."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import click
import msgspec
from pydantic import HttpUrl, TypeAdapter, ValidationError

from proxy.cli.options import settings_options
from proxy.cli.source_options import (
    json_summary,
    log_errors_only,
    print_missing,
    read_sources,
    source_options,
    take_source_options,
)
from proxy.config import Settings, load_settings
from proxy.errors import ConfigurationError
from proxy.requirements import DEFAULT_JOBS, FileFilter, SourceRequirements
from proxy.runtime import count_text, size_text
from proxy.warm import WarmReport, choose_display, warm, warm_remote


@click.command("warm")
@source_options
@settings_options
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=DEFAULT_JOBS,
    metavar="N",
    help=f"Concurrent downloads. Default: {DEFAULT_JOBS}.",
)
@click.option(
    "--via",
    metavar="URL",
    help="Warm the Waystation at this address instead.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only what is missing.")
@click.option("--json", "as_json", is_flag=True, help="Print the report in JSON.")
def command(
    config: Path | None, jobs: int, via: str | None, quiet: bool, as_json: bool, **flags: Any
) -> None:
    """Fetch everything that the sources need, for every target, into the cache.

    A SOURCE is a requirements file, a directory with a pyproject.toml, a lock file (uv.lock,
    poetry.lock, pdm.lock, pylock.toml), a project name with or without versions, or "-" for
    requirements on standard input. Targets are all combinations of --python and --platform.

    Files in the cache are not fetched again: an interrupted run can be repeated. Exit status 1
    if something is missing at the end.
    """
    source_flags = take_source_options(flags)
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    if settings.offline:
        raise ConfigurationError("offline", "nothing can be fetched offline", "give --online")
    wanted, file_filter = read_sources(**source_flags)
    try:
        report = asyncio.run(_warm(settings, via, wanted, file_filter, jobs, quiet))
    except KeyboardInterrupt:
        click.echo("interrupted; run the command again to continue", err=True)
        raise SystemExit(130) from None
    print_report(report, file_filter, quiet=quiet, as_json=as_json)
    raise SystemExit(0 if report.complete else 1)


async def _warm(
    settings: Settings,
    via: str | None,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    jobs: int,
    quiet: bool,
) -> WarmReport:
    bars = choose_display(quiet=quiet)
    if via:
        return await warm_remote(settings, _url(via), wanted, file_filter, bars, jobs=jobs)
    return await warm(settings, wanted, file_filter, bars, jobs=jobs)


def _url(text: str) -> HttpUrl:
    """The address of the index; for an address without a path, that of a Waystation's index."""
    try:
        url = TypeAdapter(HttpUrl).validate_python(text)
        return url if url.path not in (None, "/") else HttpUrl(f"{text.rstrip('/')}/simple/")
    except ValidationError:
        raise ConfigurationError(
            "--via", "not an address", "give one such as http://packages.example.com/simple/"
        ) from None


def print_report(
    report: WarmReport, file_filter: FileFilter, *, quiet: bool, as_json: bool = False
) -> None:
    needs = report.needs
    if as_json:
        summary = {"complete": report.complete, "fetched": report.fetched}
        summary |= {
            "fetched_bytes": report.fetched_bytes,
            **json_summary(needs, file_filter, report.missing),
        }
        click.echo(msgspec.json.encode(summary))
    if not quiet and not as_json:
        projects, files = len(needs.pages), len(needs.files)
        click.echo(
            f"{count_text(projects, 'project')}, {count_text(files, 'file')},"
            f" {size_text(needs.size)}:"
            f" fetched {report.fetched} ({size_text(report.fetched_bytes)}),"
            f" missing {len(report.missing) + len(needs.skipped)}"
        )
    for each in () if quiet else needs.notes:
        click.echo(f"note: {each}", err=True)
    print_missing(report.missing, needs.skipped)
