"""Keep tables run on a cache beside a fake index, with time in the test's hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from proxy.bundle.keep.run import Ran, Runner
from proxy.bundle.keep.sync import all_changes, sync
from proxy.bundle.keep.table import Keep
from proxy.bundle.needs import Need
from proxy.bundle.progress import Silence
from proxy.compose import Proxy, open_proxy
from tests.bundle.support import choice
from tests.bundle.warming import LIMIT, Site
from tests.support.clock import Clock


def keep(*sources: str, **more: Any) -> Keep:
    return Keep(sources, more.pop("to", choice()), **more)


@asynccontextmanager
async def opened(here: Site, clock: Clock, **settings: Any) -> AsyncIterator[Proxy]:
    known = {"speculate": "off", "retries": 0} | settings
    async with open_proxy(here.settings(**known), clock) as proxy:
        yield proxy


def runner(proxy: Proxy, clock: Clock, *, dry: bool = False) -> Runner:
    async def remember(_: Iterable[Need]) -> None:
        """Bundles have their own tests."""

    return Runner(proxy, Silence(), {}, 4, 8, remember, dry=dry, clock=clock)


async def run(
    proxy: Proxy, clock: Clock, *keeps: Keep, dry: bool = False, changes: Path | None = None
) -> list[Ran]:
    async with asyncio.timeout(LIMIT):
        return await sync(keeps, runner(proxy, clock, dry=dry), keeps, changes)


def told(ran: list[Ran]) -> list[tuple[str, str]]:
    """What changed, with the file's name."""
    return [(each.change, each.filename) for each in all_changes(ran)]
