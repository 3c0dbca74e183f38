"""``waystation warm``: the cache gets all that some builds need."""

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
    help=f"At once. Default: {DEFAULT_JOBS}.",
)
@click.option("--via", metavar="URL", help="Warm the Waystation at this address, not this machine.")
@click.option("--quiet", "-q", is_flag=True, help="Say nothing but what could not be had.")
@click.option("--json", "as_json", is_flag=True, help="Report on standard output as JSON.")
def command(
    config: Path | None, jobs: int, via: str | None, quiet: bool, as_json: bool, **flags: Any
) -> None:
    """Fetch all that the sources need, for every target, into the cache.

    A SOURCE is a requirements file, a project or its pyproject.toml, a lock file (uv, Poetry,
    PDM, pylock), a name with specifiers, or "-" for lines on standard input. Run again, it goes
    on where it was interrupted. Exit status 1 if something could not be had.
    """
    source_flags = take_source_options(flags)
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    if settings.offline:
        raise ConfigurationError("offline", "nothing can be fetched", "give --online")
    wanted, file_filter = read_sources(**source_flags)
    try:
        report = asyncio.run(_warm(settings, via, wanted, file_filter, jobs, quiet))
    except KeyboardInterrupt:
        click.echo("interrupted; run it again to go on", err=True)
        raise SystemExit(130) from None
    _tell(report, file_filter, quiet=quiet, as_json=as_json)
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
    """Of the index: where only the server is named, that is where a Waystation has it."""
    try:
        url = TypeAdapter(HttpUrl).validate_python(text)
        return url if url.path not in (None, "/") else HttpUrl(f"{text.rstrip('/')}/simple/")
    except ValidationError:
        raise ConfigurationError(
            "--via", "not an address", "give one such as http://packages.example.com/simple/"
        ) from None


def _tell(report: WarmReport, file_filter: FileFilter, *, quiet: bool, as_json: bool) -> None:
    needs = report.needs
    if as_json:
        told = {"complete": report.complete, "fetched": report.fetched}
        told |= {
            "fetched_bytes": report.fetched_bytes,
            **json_summary(needs, file_filter, report.missing),
        }
        click.echo(msgspec.json.encode(told))
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
