"""``waystation mirror``: fetch what builds need, and write it as a static index, in one command."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path
from typing import Any

import click

from proxy.cli.options import settings_options
from proxy.cli.source_options import (
    log_errors_only,
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
from proxy.cli.warm import print_report
from proxy.composition import open_proxy
from proxy.config import Settings, load_settings
from proxy.errors import ConfigurationError
from proxy.export import ExportOptions, ExportResult, Tree, export, select_distributions
from proxy.requirements import DEFAULT_JOBS
from proxy.warm import WarmReport, choose_display, warm

_RSYNC = (
    *("rsync", "--archive", "--copy-links", "--delay-updates", "--delete-after"),
    "--modify-window=-1",  # two exports may write files of one size within a second
)
_NOT_SENT = ("--exclude=/.waystation/", "--exclude=.~tmp~/")


@click.command("mirror")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@source_options
@click.option(
    "--rsync",
    "target",
    metavar="TARGET",
    help="After success, make TARGET equal to DIR with rsync. Other files in TARGET are deleted.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=DEFAULT_JOBS,
    metavar="N",
    help=f"Concurrent downloads. Default: {DEFAULT_JOBS}.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only what is missing.")
@tree_options
@settings_options
def command(
    folder: Path,
    target: str | None,
    jobs: int,
    quiet: bool,
    config: Path | None,
    **flags: Any,
) -> None:
    """Fetch everything that the sources need, and write a static index of it into DIR.

    As "warm" and then "export", with the sources and targets of "warm". The next run fetches and
    writes only what has changed, and deletes what is no longer needed. If something is missing,
    DIR stays as it is and the exit status is 1.
    """
    source_flags, tree_flags = take_source_options(flags), take_tree_options(flags)
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    if settings.offline:
        raise ConfigurationError("offline", "nothing can be fetched offline", "give --online")
    check_place(folder, settings, {})
    if target is not None:
        _check_rsync(target)
    options = read_tree_options(**tree_flags)
    wanted, file_filter = read_sources(**source_flags)
    display = choose_display(quiet=quiet)
    try:
        report = asyncio.run(
            warm(settings, wanted, file_filter, display, jobs=jobs, revalidate=True)
        )
        print_report(report, file_filter, quiet=quiet)
        if not report.complete:
            click.echo(f"{folder} stays as it is: not everything could be fetched", err=True)
            raise SystemExit(1)
        with writing_to(folder, verify=tree_flags["verify"]) as tree:
            done = asyncio.run(_export(settings, report, tree, options))
        if not quiet:
            print_export(folder, done)
        if target is not None:
            _send(folder, target)
    except KeyboardInterrupt:
        click.echo("interrupted; run the command again to continue", err=True)
        raise SystemExit(130) from None


async def _export(
    settings: Settings, report: WarmReport, tree: Tree, options: ExportOptions
) -> ExportResult:
    """Export the files that are needed, from the cache alone."""
    needed = select_distributions((need.project, need.filename) for need in report.needs.files)
    offline = {"offline": True, "offline_list_all": True}
    async with open_proxy(settings.model_copy(update=offline)) as proxy:
        return await export(proxy.index, tree, options, needed)


def _check_rsync(target: str) -> None:
    """Raises ``ConfigurationError`` before anything is fetched."""
    if not target or target.startswith("-"):
        problem = f"{target!r} is no destination"
        raise ConfigurationError("--rsync", problem, "give one such as host:/srv/packages/")
    if shutil.which(_RSYNC[0]) is None:
        raise ConfigurationError("--rsync", "rsync is not installed", "install it")


def _send(folder: Path, target: str) -> None:
    """Make the target equal to the tree. New pages appear there after all files have arrived."""
    sent = [*_RSYNC, *_NOT_SENT, "--", f"{folder.absolute()}/", target]
    status = subprocess.run(sent, stdin=subprocess.DEVNULL, check=False).returncode  # noqa: S603 (no shell)
    if status:
        click.echo(f"rsync to {target} failed with exit status {status}", err=True)
        raise SystemExit(1)
