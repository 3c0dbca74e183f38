"""The background work of a server, from one state of its settings to the next.

Its modules are imported only when the settings need them: most servers start faster without.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import TYPE_CHECKING

from proxy.composition import Proxy, open_webhooks
from proxy.config import Settings
from proxy.runtime import end_tasks
from proxy.storage import ChangedFiles

if TYPE_CHECKING:
    from proxy.prefetch import SiteFollower

log = logging.getLogger(__name__)


@asynccontextmanager
async def standing_work(settings: Settings, proxy: Proxy) -> AsyncIterator[None]:
    """While entered, keep tables run and changes are delivered.

    Servers that mirrors follow are followed. Offline nothing of this is done: changes are
    delivered when there is a network again.
    """
    async with keeping(settings, proxy), _delivering(settings, proxy), _following(proxy):
        yield


def keeping(settings: Settings, proxy: Proxy) -> AbstractAsyncContextManager[None]:
    """While entered, the keep tables run on schedule."""
    if not settings.keep or settings.offline:
        return nullcontext()
    from proxy.cli.sync import scheduled_keep

    return scheduled_keep(settings, proxy)


@asynccontextmanager
async def _delivering(settings: Settings, proxy: Proxy) -> AsyncIterator[None]:
    """While entered, changes of packages go to the webhooks that want them."""
    if not settings.webhooks or settings.offline:
        yield
        return
    publishers = proxy.upload_targets.values()
    async with open_webhooks(settings, publishers) as deliveries:
        proxy.deliveries = deliveries
        try:
            yield
        finally:
            proxy.deliveries = ()


@asynccontextmanager
async def _following(proxy: Proxy) -> AsyncIterator[None]:
    """While entered, what other servers publish is fetched at once."""
    running = [asyncio.create_task(_follow(site.follower)) for site in proxy.sites]
    try:
        yield
    finally:
        await end_tasks(*running)


async def _follow(follower: SiteFollower) -> None:
    try:
        await follower.run()
    except Exception:
        log.exception("changes are not followed any more, due to an unexpected error")


async def warn_of_changed_files(proxy: Proxy) -> None:
    """Repeat at each start what was logged when the changes were noticed."""
    if count := await ChangedFiles(proxy.cache.records).count():
        log.warning(
            "upstream lists other bytes than before for known files (%d so far); to see them,"
            " run: %s",
            count,
            "waystation cache changed",
        )
