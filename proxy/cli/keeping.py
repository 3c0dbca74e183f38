"""``[[keep]]`` tables of the settings as they are run: by ``sync``, and beside a server."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

from proxy.bundle.choice import FileFilter
from proxy.bundle.keep.run import KeepRunner
from proxy.bundle.keep.sync import Schedule
from proxy.bundle.keep.table import Keep
from proxy.bundle.progress import NoDisplay
from proxy.bundle.targets import parse_targets
from proxy.bundle.warm import remember
from proxy.compose import Proxy
from proxy.errors import ConfigurationError
from proxy.keep_table import KeepTable
from proxy.settings import Settings

log = logging.getLogger(__name__)

KEEP_JOBS = 2
"""Downloads at once beside a server ..."""
KEEP_UPSTREAM_REQUESTS = 4
"""... and questions at once."""
BUSY_REQUESTS = 8
"""Requests to upstream, of whoever, beside which no further question begins ..."""
STOP_TIMEOUT = 10.0
"""... for so many seconds: it has to get on."""
TURN_PAUSE = 0.05


def tables(settings: Settings) -> list[Keep]:
    """Raises ``ConfigurationError``."""
    return [_keep(table) for table in settings.keep]


def change_lists(settings: Settings) -> Path | None:
    """The folder for them, which is made. Raises ``ConfigurationError``."""
    folder = settings.change_lists
    try:
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        problem = f"{folder} cannot be made: {error.strerror}"
        raise ConfigurationError("change_lists", problem, "name a folder") from None
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
async def keeping(settings: Settings, proxy: Proxy) -> AsyncIterator[None]:
    """While entered, the tables are run on schedule, behind what clients wait for."""

    async def turn() -> None:
        for _ in range(int(STOP_TIMEOUT / TURN_PAUSE)):
            if proxy.traffic.under_way <= BUSY_REQUESTS:
                return
            await asyncio.sleep(TURN_PAUSE)

    remembered = partial(remember, proxy, settings)
    runner = KeepRunner(
        proxy, NoDisplay(), os.environ, KEEP_JOBS, KEEP_UPSTREAM_REQUESTS, remembered, turn
    )
    schedule = Schedule(tables(settings), runner, change_lists(settings))
    task = asyncio.create_task(schedule.go_on())
    task.add_done_callback(_ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    if not task.cancelled() and (error := task.exception()):
        log.error("keep tables are no longer run", exc_info=error)
