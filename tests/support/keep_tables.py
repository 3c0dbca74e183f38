"""Keep tables run on a cache beside a fake index, with time in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.composition.proxy import Proxy, open_proxy
from proxy.config.settings import Settings
from proxy.indexes.base import Index
from proxy.warm.keep.run import KeepResult, KeepRunner, temporary_cache
from proxy.warm.keep.schedule import all_changes, sync
from proxy.warm.keep.table import Keep
from proxy.warm.progress import NoDisplay
from tests.support.clock import Clock
from tests.support.requirement_sources import choice
from tests.support.warm_site import LIMIT, WarmSite


def keep(*sources: str, **more: Any) -> Keep:
    return Keep(sources, more.pop("to", choice()), **more)


@asynccontextmanager
async def opened(here: WarmSite, clock: Clock, **settings: Any) -> AsyncIterator[Proxy]:
    known = {"speculate": "off", "retries": 0} | settings
    async with open_proxy(here.settings(**known), clock) as proxy:
        yield proxy


def runner(proxy: Proxy, clock: Clock, other: Index | None = None) -> KeepRunner:
    return KeepRunner(proxy, {}, NoDisplay(), {}, 4, 8, dry_run_index=other, clock=clock)


async def run(
    proxy: Proxy,
    clock: Clock,
    *keeps: Keep,
    dry: Settings | None = None,
    changes: Path | None = None,
) -> list[KeepResult]:
    """``dry``: what the proxy was made of."""
    async with AsyncExitStack() as stack, asyncio.timeout(LIMIT):
        other = await stack.enter_async_context(temporary_cache(dry)) if dry else None
        return await sync(keeps, runner(proxy, clock, other), keeps, changes)


def changes_of(ran: list[KeepResult]) -> list[tuple[str, str]]:
    """What changed, with the file's name."""
    return [(each.change, each.filename) for each in all_changes(ran)]
