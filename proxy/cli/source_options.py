"""Sources and targets on the command line, the same for every command that takes them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import click

from proxy.bundle.choice import FileFilter
from proxy.bundle.platforms import SHORT, described
from proxy.bundle.sources import read_source
from proxy.bundle.sources.access_log import read_access_log
from proxy.bundle.sources.pyproject import GroupSelection
from proxy.bundle.targets import parse_targets
from proxy.bundle.wants import SourceRequirements, UnreadableSource, joined
from proxy.errors import ConfigurationError

F = TypeVar("F", bound=Callable[..., Any])

_OPTIONS = (
    click.argument("sources", nargs=-1, metavar="SOURCE..."),
    click.option(
        "--python",
        "pythons",
        multiple=True,
        metavar="3.N",
        help="For this Python; may be repeated. Default: the one that runs this.",
    ),
    click.option(
        "--platform",
        "platforms",
        multiple=True,
        metavar="TAG",
        help="For this platform: a wheel tag, or "
        + ", ".join(f"{name} ({tag})" for name, tag in SHORT.items() if "-" not in name)
        + ", or one of these with -x86_64 or -arm64. May be repeated. Default: this machine's.",
    ),
    click.option("--no-sdists", is_flag=True, help="Wheels only."),
    click.option("--only-sdists", is_flag=True, help="Sdists only."),
    click.option(
        "--all-files", is_flag=True, help="Every file of the chosen versions, for all platforms."
    ),
    click.option(
        "--latest",
        type=click.IntRange(min=1),
        metavar="N",
        help="Also the newest N versions of each project that is itself named as a SOURCE, such"
        " as requests or 'django<5'.",
    ),
    click.option(
        "--from-log",
        "logs",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="FILE",
        help="All that this access log in JSON form says was asked for; may be repeated.",
    ),
    click.option(
        "--extra",
        "extras",
        multiple=True,
        metavar="NAME",
        help="Of a pyproject.toml, this extra only; may be repeated. Default: all.",
    ),
    click.option(
        "--group",
        "groups",
        multiple=True,
        metavar="NAME",
        help="Of a pyproject.toml, this dependency group only; may be repeated. Default: all.",
    ),
)

NAMES = (
    *("sources", "pythons", "platforms", "no_sdists", "only_sdists", "all_files", "latest"),
    *("logs", "extras", "groups"),
)


def source_options(function: F) -> F:
    for option in reversed(_OPTIONS):
        function = option(function)
    return function


def given(flags: dict[str, Any]) -> dict[str, Any]:
    """Takes the values of these options out of all that were given."""
    return {name: flags.pop(name) for name in NAMES}


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
    """What is wanted, and for what. Raises ``ConfigurationError``."""
    if not sources and not logs:
        raise click.UsageError("name at least one source")
    if no_sdists and only_sdists:
        raise click.UsageError("--no-sdists and --only-sdists exclude each other")
    targets = parse_targets(pythons, platforms)
    choice = FileFilter(
        targets, "none" if no_sdists else "only" if only_sdists else "also", all_files
    )
    some_extras: GroupSelection = extras or "all"
    some_groups: GroupSelection = groups or "all"
    try:
        read = [
            read_source(
                each,
                choice,
                environ=os.environ,
                extras=some_extras,
                groups=some_groups,
                latest=latest,
            )
            for each in sources
        ]
        found = joined([*read, *map(read_access_log, logs), _platform_notes(platforms)])
    except UnreadableSource as error:
        where = f"{error.source}, line {error.line}" if error.line else error.source
        raise ConfigurationError(where, error.problem) from error
    if latest and not found.named:
        raise click.UsageError("--latest is for projects that are named, and no SOURCE is a name")
    return found, choice


def _platform_notes(platforms: Sequence[str]) -> SourceRequirements:
    """What short names of platforms stand for."""
    short = dict.fromkeys(each.lower() for each in platforms if each.lower() in SHORT)
    return SourceRequirements(
        notes=tuple(f"{name} stands for {described(SHORT[name])}" for name in short)
    )
