"""Sources and targets on the command line, and reports of what is missing for them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.config import Settings
from proxy.distributions import PLATFORM_ALIASES, describe_platform, parse_targets
from proxy.errors import ConfigurationError
from proxy.requirements import (
    FileFilter,
    GroupSelection,
    Missing,
    ResolvedFiles,
    SkippedRequirement,
    SourceRequirements,
    UnreadableSource,
    merge_requirements,
    read_access_log,
    read_source,
)
from proxy.runtime import configure_logging

F = TypeVar("F", bound=Callable[..., Any])

_SOURCE_OPTIONS = (
    click.argument("sources", nargs=-1, metavar="[SOURCE]..."),
    click.option(
        "--python",
        "pythons",
        multiple=True,
        metavar="3.N",
        help="Target Python. Repeatable. Default: the Python that runs this command.",
    ),
    click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="TAG",
        help="Target platform: a wheel tag, or "
        + ", ".join(f"{name} ({tag})" for name, tag in PLATFORM_ALIASES.items() if "-" not in name)
        + ", or one of these with -x86_64 or -arm64. Repeatable. Default: this machine.",
    ),
    click.option("--no-sdists", is_flag=True, help="Wheels only, no source distributions."),
    click.option("--only-sdists", is_flag=True, help="Source distributions only."),
    click.option(
        "--all-files", is_flag=True, help="Every file of the selected versions, for all platforms."
    ),
    click.option(
        "--latest",
        type=click.IntRange(min=1),
        metavar="N",
        help="Also the newest N versions of each project that a SOURCE names directly, such as"
        " requests or 'django<5'.",
    ),
    click.option(
        "--from-log",
        "logs",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="Everything that clients requested according to this access log in JSON form."
        " Repeatable.",
    ),
    click.option(
        "--extra",
        "extras",
        multiple=True,
        metavar="NAME",
        help="Only this extra of a pyproject.toml. Repeatable. Default: all extras.",
    ),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME",
        help="Only this dependency group of a pyproject.toml. Repeatable. Default: all groups.",
    ),
)

SOURCE_OPTION_NAMES = (
    *("sources", "pythons", "platforms", "no_sdists", "only_sdists", "all_files", "latest"),
    *("logs", "extras", "groups"),
)


def source_options(function: F) -> F:
    for option in reversed(_SOURCE_OPTIONS):
        function = option(function)
    return function


def take_source_options(flags: dict[str, Any]) -> dict[str, Any]:
    """Remove the values of the source options from all flags, and return them."""
    return {name: flags.pop(name) for name in SOURCE_OPTION_NAMES}


def read_sources(
    *,
    sources: Sequence[str],
    pythons: Sequence[str],
    platforms: Sequence[str],
    no_sdists: bool,
    only_sdists: bool,
    all_files: bool,
    latest: int | None,
    logs: Sequence[Path],
    extras: Sequence[str],
    groups: Sequence[str],
) -> tuple[SourceRequirements, FileFilter]:
    """The requirements of the sources, and the kinds of files. Raises ``ConfigurationError``."""
    if not sources and not logs:
        raise click.UsageError("name at least one SOURCE, such as requirements.txt or requests")
    if no_sdists and only_sdists:
        raise click.UsageError("--no-sdists and --only-sdists exclude each other: give one of them")
    targets = parse_targets(pythons, platforms)
    file_filter = FileFilter(
        targets, "none" if no_sdists else "only" if only_sdists else "also", all_files
    )
    some_extras: GroupSelection = extras or "all"
    some_groups: GroupSelection = groups or "all"
    try:
        read = [
            read_source(
                each,
                file_filter,
                environ=os.environ,
                extras=some_extras,
                groups=some_groups,
                latest=latest,
            )
            for each in sources
        ]
        found = merge_requirements([*read, *map(read_access_log, logs), _platform_notes(platforms)])
    except UnreadableSource as error:
        where = f"{error.source}, line {error.line}" if error.line else error.source
        raise ConfigurationError(where, error.problem) from error
    if latest and not found.latest:
        raise click.UsageError("--latest applies to names of projects, and no SOURCE is a name")
    return found, file_filter


def _platform_notes(platforms: Sequence[str]) -> SourceRequirements:
    """The meaning of the short platform names that are used."""
    short = dict.fromkeys(each.lower() for each in platforms if each.lower() in PLATFORM_ALIASES)
    return SourceRequirements(
        notes=tuple(f"{name} means {describe_platform(PLATFORM_ALIASES[name])}" for name in short)
    )


def print_missing(missing: Iterable[Missing], skipped: Iterable[SkippedRequirement]) -> None:
    """Print what is missing and why on standard error, one line each.

    A reason of several lines is printed once, below all lines that share it.
    """
    for skip in skipped:
        click.echo(f"cannot be fetched from an index: {skip}", err=True)
    by_reason: dict[str, list[str]] = {}
    for each in missing:
        by_reason.setdefault(each.reason, []).append(each.line)
    for reason, lines in by_reason.items():
        is_long = "\n" in reason
        for line in lines:
            click.echo(f"missing: {line}" + ("" if is_long else f": {reason}"), err=True)
        if is_long:
            click.echo("  " + reason.replace("\n", "\n  "), err=True)


def print_missing_list(lines: Iterable[str]) -> None:
    """Print the list for ``warm -`` on standard output, unless that is a terminal."""
    if not sys.stdout.isatty():
        for line in lines:
            click.echo(line)


def json_summary(
    needs: ResolvedFiles, file_filter: FileFilter, missing: Iterable[Missing]
) -> dict[str, Any]:
    """The common part of reports in JSON; sizes are in bytes."""
    return {
        "targets": [str(each) for each in file_filter.targets],
        "projects": len(needs.pages),
        "files": len(needs.files),
        "bytes": needs.size,
        "missing": [{"line": each.line, "reason": each.reason} for each in missing],
        "skipped": [
            {"source": each.source, "what": each.what, "reason": each.reason}
            for each in needs.skipped
        ],
        "notes": needs.notes,
    }


def log_errors_only(settings: Settings) -> None:
    """Log errors of the program only: the command reports everything else itself."""
    configure_logging(settings.log_format, "error", access=False)
