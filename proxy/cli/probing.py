"""Tests of upstreams, at the start of a server and by ``waystation check``."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NamedTuple

from proxy.composition import (
    IndexTree,
    addresses,
    api_problem,
    open_upstream,
    upstream_url,
    without_credentials,
)
from proxy.config import MirrorTable, ReleasesTable, Settings
from proxy.runtime import end_tasks
from proxy.upstream import probe

log = logging.getLogger(__name__)


class Attempt(NamedTuple):
    what: str
    problem: str | None


@asynccontextmanager
async def probing(settings: Settings, tree: IndexTree) -> AsyncIterator[None]:
    """Test the upstreams in the background; log a line with the reason for each that fails.

    Nothing waits for the tests. Offline there are none. The requests do not count in the metrics.
    """
    task = asyncio.create_task(_probe_all(settings, tree))
    try:
        yield
    finally:
        await end_tasks(task)


async def _probe_all(settings: Settings, tree: IndexTree) -> None:
    async for what, problem in upstreams(settings, tree):
        if problem:
            log.warning("%s: %s", what, problem)


async def upstreams(settings: Settings, tree: IndexTree) -> AsyncIterator[Attempt]:
    """Test each upstream once, one after the other."""
    tables = [
        (leaf.name, table)
        for leaf in tree.leaves
        if isinstance(leaf.table, MirrorTable) and not settings.offline
        for table in addresses(leaf.table)
    ]
    for name, table in tables:
        shown = without_credentials(upstream_url(table))
        url = shown if shown.endswith("/") else f"{shown}/"
        async with open_upstream(name, table, settings.of_index(table)) as transport:
            problem = await probe(transport, url)
        yield Attempt(f"{'' if name == 'upstream' else 'upstream '}{name} {shown}", problem)
    for leaf in tree.leaves:
        if isinstance(leaf.table, ReleasesTable) and not settings.offline:
            in_force = settings.of_index(leaf.table)
            for repository in dict.fromkeys(leaf.table.repositories):
                problem = await api_problem(leaf.name, leaf.table, in_force, repository)
                yield Attempt(f"releases {leaf.name} {repository}", problem)
