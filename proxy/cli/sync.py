"""``waystation sync``: run the ``[[keep]]`` tables once; and their schedule in a server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from proxy.cli.options import settings_options
from proxy.cli.source_options import log_errors_only, print_missing
from proxy.composition import Proxy, mirrored, open_proxy
from proxy.config import Settings, load_settings
from proxy.distributions import parse_targets
from proxy.errors import ConfigurationError
from proxy.requirements import DEFAULT_JOBS, FileFilter
from proxy.runtime import count_text, end_tasks, size_text
from proxy.warm import (
    Keep,
    KeepResult,
    KeepRunner,
    NoDisplay,
    Schedule,
    all_changes,
    choose_display,
    sync,
    temporary_cache,
)

if TYPE_CHECKING:
    from proxy.config import KeepTable

_NO_TABLES = """\
add one to the settings file that --config names, such as

    [[keep]]
    sources = ["requirements.txt"]

or fetch something once with `waystation warm`"""
SYNC_REQUESTS = 32
"""Concurrent requests for pages and metadata in ``sync``."""


@click.command("sync")
@settings_options
@click.option("--dry-run", is_flag=True, help="List what would be fetched, and change nothing.")
@click.option(
    "--changes",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write what was added, removed or yanked upstream since the last run to FILE, as JSON"
    " lines; a directory gets a new file. Default: the setting change_lists.",
)
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=DEFAULT_JOBS,
    metavar="N",
    help=f"Concurrent downloads. Default: {DEFAULT_JOBS}.",
)
@click.option("--quiet", "-q", is_flag=True, help="Print only what is missing.")
def command(
    config: Path | None,
    dry_run: bool,
    changes: Path | None,
    jobs: int,
    quiet: bool,
    **flags: Any,
) -> None:
    """Run every [[keep]] table of the settings once: fetch what is new, pin what is wanted.

    Pinned files are never evicted. A server runs each table by itself, at its interval.
    Exit status 1 if something is missing.
    """
    settings = load_settings(flags, config).settings
    log_errors_only(settings)
    if settings.offline:
        raise ConfigurationError("offline", "nothing can be fetched offline", "give --online")
    if not settings.keep:
        raise ConfigurationError("keep", "the settings have no [[keep]] table", _NO_TABLES)
    try:
        to = None if dry_run else changes or change_folder(settings)
        ran = asyncio.run(_sync(settings, to, jobs, quiet, dry_run))
    except KeyboardInterrupt:
        click.echo("interrupted; run the command again to continue", err=True)
        raise SystemExit(130) from None
    except OSError as error:
        problem = f"the list cannot be written: {error.strerror}"
        raise ConfigurationError("--changes", problem, "name a directory that exists") from None
    _print_results(ran, quiet=quiet, dry=dry_run)
    raise SystemExit(0 if all(one.complete for one in ran) else 1)


async def _sync(
    settings: Settings, changes: Path | None, jobs: int, quiet: bool, dry: bool
) -> list[KeepResult]:
    keeps = keep_tables(settings)
    patient = settings.everywhere(soft_deadline=settings.page_timeout, speculate="off")
    async with AsyncExitStack() as stack:
        proxy = await stack.enter_async_context(open_proxy(patient))
        other = await stack.enter_async_context(temporary_cache(patient)) if dry else None
        bars = choose_display(quiet=quiet)
        runner = KeepRunner(
            proxy,
            mirrored(settings),
            bars,
            os.environ,
            jobs,
            SYNC_REQUESTS,
            dry_run_index=other,
        )
        return await sync(keeps, runner, keeps, changes)


def _print_results(ran: list[KeepResult], *, quiet: bool, dry: bool) -> None:
    for one in () if quiet else ran:
        click.echo(_total(one, dry=dry), err=True)
    for one in ran:
        print_missing(one.missing, one.needs.skipped)
    for need in dict.fromkeys(need for one in ran if dry for need in one.fetched):
        click.echo(need.line)
    for change in () if dry or quiet else all_changes(ran):
        click.echo(f"{change.change} {change.project}/{change.filename}")


def _total(ran: KeepResult, *, dry: bool) -> str:
    size = size_text(sum(need.size or 0 for need in ran.fetched))
    missing = len(ran.missing) + len(ran.needs.skipped)
    done = f"{'would fetch' if dry else 'fetched'} {count_text(len(ran.fetched), 'file')} ({size})"
    return f"{ran.keep}: {done}" + (f", missing {missing}" if missing else "")


log = logging.getLogger(__name__)

SERVER_JOBS = 2
"""Concurrent downloads of keep tables in a server."""
SERVER_REQUESTS = 4
"""Concurrent requests of keep tables for pages and metadata in a server."""
BUSY_REQUESTS = 8
"""Running upstream requests of the whole server above which keep tables wait."""
MAX_WAIT = 10.0
"""Seconds that a request of a keep table waits at most."""
WAIT_POLL = 0.05
"""Seconds between two looks at the running requests."""


def keep_tables(settings: Settings) -> list[Keep]:
    """The keep tables of the settings. Raises ``ConfigurationError``."""
    return [_keep(table) for table in settings.keep]


def change_folder(settings: Settings) -> Path | None:
    """The folder for lists of changes; created if missing. Raises ``ConfigurationError``."""
    folder = settings.change_lists
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{folder} cannot be created: {error.strerror}"
        raise ConfigurationError("change_lists", problem, "name another directory") from None
    return folder


def _keep(table: KeepTable) -> Keep:
    return Keep(
        tuple(table.sources),
        FileFilter(parse_targets(table.python, table.platform), table.sdists, table.all_files),
        table.every,
        tuple(table.names),
        table.versions,
        table.latest,
        None if table.max_file_size is None else int(table.max_file_size),
    )


@asynccontextmanager
async def scheduled_keep(settings: Settings, proxy: Proxy) -> AsyncIterator[None]:
    """While entered, the tables run on schedule; requests of clients have priority."""

    async def wait_for_turn() -> None:
        for _ in range(int(MAX_WAIT / WAIT_POLL)):
            if proxy.traffic.under_way <= BUSY_REQUESTS:
                return
            await asyncio.sleep(WAIT_POLL)

    runner = KeepRunner(
        proxy,
        mirrored(settings),
        NoDisplay(),
        os.environ,
        SERVER_JOBS,
        SERVER_REQUESTS,
        wait_for_turn,
    )
    schedule = Schedule(keep_tables(settings), runner, change_folder(settings))
    task = asyncio.create_task(schedule.run_forever())
    task.add_done_callback(_ended)
    try:
        yield
    finally:
        await end_tasks(task)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("keep tables are no longer run, due to an unexpected error", exc_info=error)
