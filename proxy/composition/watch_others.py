"""Follows changes by others on the cache: commands, workers, and replicas on other machines."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable
from contextlib import AsyncExitStack, suppress
from typing import TYPE_CHECKING

from proxy.events import PageChanged
from proxy.model import ProjectName
from proxy.runtime import BackgroundQueue
from proxy.storage import EVERYTHING, MISSED, Announce, Claims, first_names

if TYPE_CHECKING:
    from proxy.composition.proxy import Proxy

log = logging.getLogger(__name__)

WATCH_OTHERS = 1.0
"""Seconds until purges and new private names of other processes are noticed, at most."""


async def watch_others(proxy: Proxy) -> None:
    """Without an end."""
    claims = proxy.cache.claims
    while True:
        await asyncio.sleep(WATCH_OTHERS)
        claimed, given_up = claims.refresh()
        purged, refreshed = proxy.cache.purges.read_new(), proxy.cache.refreshes.read_new()
        if MISSED in (*purged, *refreshed):
            proxy.doubt_pages()
        for project in dict.fromkeys([*given_up, *_names(purged)]):
            await proxy.forget(None if project == EVERYTHING else ProjectName(project))
        for name in dict.fromkeys(_names(refreshed)):
            proxy.epoch.hear(ProjectName(name))
            proxy.forget_pages(ProjectName(name))
        if shared := proxy.cache.shared_claims:
            claimed |= await shared.exchange(purged)
        for project in claimed:
            proxy.events(PageChanged(ProjectName(project)))
        if claims.unsaved:
            await claims.save()


def _names(found: Collection[str]) -> Iterable[str]:
    return (name for name in found if name != MISSED)


def announcer(announce: Announce | None, stack: AsyncExitStack) -> Callable[[ProjectName], None]:
    """A function that has other replicas look at a project again, a moment later.

    ``announce``: None if there are no other replicas.
    """
    if announce is None:
        return lambda project: None

    async def work(project: ProjectName) -> None:
        with suppress(OSError):  # they notice it when their facts expire
            await announce([project])

    queue = BackgroundQueue(work)
    stack.push_async_callback(queue.close)
    return queue.add


def warn_of_withheld(claims: Claims) -> None:
    """Log the private names of directories that are not served now."""
    for directory, names in claims.withheld().items():
        log.warning(
            "%s is not served now, and the cache remembers private names of it: %s; they are "
            "answered with 503 and never asked for upstream. Serve the directory again, or give "
            "a name up with `waystation cache purge NAME`",
            directory,
            first_names(names),
        )
