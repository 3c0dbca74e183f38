"""Settings to a running tree of indexes: the one place that names the concrete classes.

The order of wrapping is always the same,

    Guarded( Mirror( pages, files, metadata ) )

policies outside of the cache: it keeps what upstream really said, so that a changed policy
acts at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial

from proxy.composition.cache import Cache, open_cache
from proxy.composition.index_tree import DefaultDirectory, IndexNode, resolve_tree
from proxy.composition.mirror import open_mirror
from proxy.config import FallthroughTable, LocalTable, MirrorTable, Settings
from proxy.errors import ProxyError
from proxy.events import Events, PageChanged, UpstreamAsked
from proxy.indexes import Fallthrough, Guarded, Index, LocalDirectory, Mirror
from proxy.model import ProjectName
from proxy.policies import Policy, Reserved, Withheld
from proxy.prefetch import Prefetcher, WorkerMarks, open_prefetcher
from proxy.runtime import BackgroundQueue
from proxy.storage import EVERYTHING, Claims, some_of
from proxy.upstream import InFlight

log = logging.getLogger(__name__)

WATCH_OTHERS = 1.0
"""Seconds after which purges and new private names of other processes are noticed, at most."""


@dataclass(slots=True)
class Proxy:
    """What is running: the index that is served, and what it is made of."""

    tree: IndexNode
    events: Events
    cache: Cache
    traffic: InFlight
    directories: list[LocalDirectory] = field(default_factory=list)
    mirrors: list[Mirror] = field(default_factory=list)
    index: Index = field(init=False)
    speculation: Prefetcher | None = None

    recheck: BackgroundQueue[ProjectName] = field(init=False)
    """Of pages that were answered although they are not fresh any more."""

    def poll(self) -> None:
        """Let local directories announce what has changed by now; costs next to nothing."""
        for directory in self.directories:
            directory.poll()

    async def forget(self, project: ProjectName | None = None) -> None:
        """Drop from memory what was purged from the cache: one project, or all that is cached.

        The name of one project also ceases to be private, unless it has files here.
        """
        for mirror in self.mirrors:
            mirror.forget(project)
        for directory in self.directories:
            if project is not None:
                await directory.release(project)


@asynccontextmanager
async def open_proxy(
    settings: Settings,
    clock: Callable[[], float] = time.time,
    events: Events | None = None,
    siblings: WorkerMarks | None = None,
) -> AsyncIterator[Proxy]:
    """The running tree; closed at the end, after downloads had time to finish.

    ``events`` may have observers already; ``siblings`` are as in ``open_prefetcher``. Raises
    ``ConfigurationError``.
    """
    tree = resolve_tree(settings)
    async with AsyncExitStack() as stack:
        events = events or Events()
        cache = await stack.enter_async_context(open_cache(settings, clock, events))
        await cache.tidy(evict=not settings.offline)
        traffic = InFlight(lambda failed: events(UpstreamAsked(failed)))
        proxy = Proxy(tree, events, cache, traffic)
        builder = _Builder(settings, proxy, stack, clock)
        await cache.claims.load(cache.records)
        proxy.index = await builder.build(tree)
        _warn_of_withheld(cache.claims)
        proxy.recheck = BackgroundQueue(partial(_recheck, proxy.index))
        stack.push_async_callback(proxy.recheck.close)
        if settings.speculate != "off" and not settings.offline:
            proxy.speculation = await stack.enter_async_context(
                open_prefetcher(
                    proxy.index,
                    cache.records,
                    proxy.events,
                    lambda: proxy.traffic.under_way,
                    connections=settings.upstream_connections,
                    files=settings.speculate == "files",
                    siblings=siblings,
                    clock=clock,
                )
            )
        watcher = asyncio.create_task(_watch_others(proxy))
        stack.push_async_callback(_ended, watcher)
        yield proxy


async def _recheck(index: Index, project: ProjectName) -> None:
    """Ask as a client would: the index then knows by itself what is to be done."""
    with suppress(ProxyError):
        await index.page(project)


async def _watch_others(proxy: Proxy) -> None:
    claims = proxy.cache.claims
    while True:
        await asyncio.sleep(WATCH_OTHERS)
        claimed, given_up = claims.refresh()
        for project in claimed:
            proxy.events(PageChanged(ProjectName(project)))
        for project in dict.fromkeys([*given_up, *proxy.cache.purges.read_new()]):
            await proxy.forget(None if project == EVERYTHING else ProjectName(project))
        if claims.unsaved:
            await claims.save()


def _warn_of_withheld(claims: Claims) -> None:
    for directory, names in claims.withheld().items():
        log.warning(
            "%s is not served now, and the cache remembers private names of it: %s; they are "
            "answered with 503 and never asked for upstream. Serve the directory again, or give "
            "a name up with `waystation cache purge NAME`",
            directory,
            some_of(names),
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Builder:
    """Builds indexes of the settings, and puts on the stack what has to be closed."""

    def __init__(
        self,
        settings: Settings,
        proxy: Proxy,
        stack: AsyncExitStack,
        clock: Callable[[], float],
    ) -> None:
        self._settings = settings
        self._proxy = proxy
        self._stack = stack
        self._clock = clock
        self._built: dict[str, Index] = {}

    async def build(self, node: IndexNode) -> Index:
        """The index of that name; one that is named twice is one index."""
        if node.name not in self._built:
            table = node.table
            if isinstance(table, LocalTable):
                self._built[node.name] = await self._directory(node.name, table)
            elif isinstance(table, MirrorTable):
                self._built[node.name] = await self._guarded_mirror(node.name, table)
            else:
                assert isinstance(table, FallthroughTable)
                children = [await self.build(child) for child in node.children]
                self._built[node.name] = Fallthrough(node.name, children)
        return self._built[node.name]

    async def _directory(self, name: str, table: LocalTable) -> LocalDirectory:
        directory = LocalDirectory(
            name,
            table.path.absolute(),
            self._proxy.cache.records,
            self._proxy.events,
            claims=self._proxy.cache.claims,
            legacy=table.legacy_files,
            optional=isinstance(table, DefaultDirectory),
            watch=table.watch,
            clock=self._clock,
        )
        await directory.open()
        self._stack.push_async_callback(directory.close)
        self._proxy.directories.append(directory)
        return directory

    async def _guarded_mirror(self, name: str, table: MirrorTable) -> Index:
        mirror = await self._stack.enter_async_context(
            open_mirror(
                name,
                table,
                self._settings,
                self._proxy.cache,
                self._proxy.events,
                self._clock,
                self._proxy.traffic,
            )
        )
        self._proxy.mirrors.append(mirror)
        policies: list[Policy] = [Withheld(self._proxy.cache.claims.is_withheld)]
        if table.reserved:
            policies.insert(0, Reserved(table.reserved))
        return Guarded(mirror, policies)
