"""Opens the tree of indexes that the settings describe, by their concrete classes.

A mirror is always wrapped in ``Guarded``: policies stand outside of the cache, which keeps what
upstream really sent, so that a changed policy acts at once.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from proxy.advisories import AdvisoryRefresher
from proxy.composition.advisories import open_advisories
from proxy.composition.cache import Cache, open_cache
from proxy.composition.facts import open_knowledge
from proxy.composition.index_checks import DefaultDirectory
from proxy.composition.index_tree import IndexNode, IndexTree, resolve_tree
from proxy.composition.mirror import open_mirror, same_upstream
from proxy.composition.policies import Epoch, build_policies
from proxy.composition.routed import Surroundings, open_routed
from proxy.config import (
    FallthroughTable,
    IndexTable,
    LocalTable,
    MirrorTable,
    RoutedTable,
    Settings,
)
from proxy.errors import ProxyError
from proxy.events import Events, PageChanged, UpstreamAsked
from proxy.indexes import Fallthrough, Guarded, Index, LocalDirectory, Merged, Mirror
from proxy.model import ProjectName
from proxy.policies import ParsedPages, Policy, Reserved, Withheld, matcher
from proxy.prefetch import Prefetching, PrefetchLimits, WorkerMarks, open_prefetchers
from proxy.runtime import BackgroundQueue
from proxy.storage import EVERYTHING, Claims, first_names
from proxy.upstream import InFlight

log = logging.getLogger(__name__)

WATCH_OTHERS = 1.0
"""Seconds until purges and new private names of other processes are noticed, at most."""


@dataclass(slots=True)
class Proxy:
    """The running indexes: the one that is served at the root, and all others."""

    tree: IndexTree
    events: Events
    cache: Cache
    traffic: InFlight
    directories: list[LocalDirectory] = field(default_factory=list)
    mirrors: list[Mirror] = field(default_factory=list)
    indexes: dict[str, Index] = field(default_factory=dict)
    """Every index of the settings by its name."""
    prefetching: Prefetching | None = None
    advisories: AdvisoryRefresher | None = None
    """None: the settings name no source of advisories."""
    epoch: Epoch = field(init=False)
    """Grows whenever the policies know something new."""
    parsed_pages: ParsedPages = field(default_factory=ParsedPages)

    _revalidations: BackgroundQueue[tuple[str, ProjectName]] = field(init=False)

    def __post_init__(self) -> None:
        self.epoch = Epoch(self.events)
        self._revalidations = BackgroundQueue(self._revalidate)

    @property
    def index(self) -> Index:
        """The index at the root."""
        return self.indexes[self.tree.root.name]

    @property
    def served(self) -> dict[str, Index]:
        """Each index that is served, by the path below which its addresses are."""
        return {"": self.index} | {f"/{name}": self.indexes[name] for name in self.tree.served}

    def poll(self) -> None:
        """Let local directories announce what has changed by now; takes microseconds."""
        for directory in self.directories:
            directory.poll()

    def revalidate(self, index: str, project: ProjectName) -> None:
        """Revalidate a stale page of that index in the background, after it was answered."""
        self._revalidations.add((index, project))

    async def forget(self, project: ProjectName | None = None) -> None:
        """Drop from memory what was purged from the cache: one project, or all that is cached.

        The name of one project also ceases to be private, unless it has files in a directory.
        """
        for mirror in self.mirrors:
            mirror.forget(project)
        for directory in self.directories:
            if project is not None:
                await directory.release(project)

    async def close(self) -> None:
        """Wait for what runs in the background."""
        await self._revalidations.close()

    async def _revalidate(self, page: tuple[str, ProjectName]) -> None:
        index, project = page
        with suppress(ProxyError):
            await self.indexes[index].page(project)  # the index decides whether to ask upstream


@asynccontextmanager
async def open_proxy(
    settings: Settings,
    clock: Callable[[], float] = time.time,
    events: Events | None = None,
    marks: WorkerMarks | None = None,
) -> AsyncIterator[Proxy]:
    """The running indexes. At the end running downloads get ``shutdown_grace`` seconds.

    ``events`` may have observers already; ``marks`` are as in ``open_prefetchers``. Raises
    ``ConfigurationError``.
    """
    tree = resolve_tree(settings)
    async with AsyncExitStack() as stack:
        events = events or Events()
        cache = await stack.enter_async_context(open_cache(settings, clock, events))
        await cache.tidy(evict=not settings.offline)
        traffic = InFlight(lambda failed: events(UpstreamAsked(failed)))
        proxy = Proxy(tree, events, cache, traffic)
        if settings.advisories:
            proxy.advisories = await stack.enter_async_context(
                open_advisories(
                    settings.advisories, settings, cache.folder, events, proxy.epoch.grow, clock
                )
            )
        builder = _Builder(settings, proxy, stack, clock)
        await cache.claims.load(cache.records)
        for node in (tree.root, *tree.named.values()):
            await builder.build(node)
        _warn_of_withheld(cache.claims)
        stack.push_async_callback(proxy.close)
        limits = _prefetch_limits(tree, settings)
        if limits and not settings.offline:
            proxy.prefetching = await stack.enter_async_context(
                open_prefetchers(
                    dict.fromkeys(proxy.served.values()),
                    cache.records,
                    proxy.events,
                    lambda: proxy.traffic.under_way,
                    connections=settings.upstream_connections,
                    limits=limits,
                    marks=marks,
                    clock=clock,
                )
            )
        watcher = asyncio.create_task(_watch_others(proxy))
        stack.push_async_callback(_ended, watcher)
        yield proxy


def _prefetch_limits(tree: IndexTree, settings: Settings) -> PrefetchLimits | None:
    """None if nothing is prefetched from any mirror."""
    levels = {
        leaf.name: settings.of_index(leaf.table).speculate
        for leaf in tree.leaves
        if isinstance(leaf.table, MirrorTable)
    }
    if all(level == "off" for level in levels.values()):
        return None
    return PrefetchLimits(
        frozenset(name for name, level in levels.items() if level == "off"),
        frozenset(name for name, level in levels.items() if level == "metadata"),
    )


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
            first_names(names),
        )


async def _ended(task: asyncio.Task[None]) -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


class _Builder:
    """Builds the indexes of a tree, and registers on the stack what has to be closed."""

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
        self._knowledge = open_knowledge(
            settings,
            proxy.cache.records,
            proxy.epoch,
            proxy.events,
            proxy.advisories,
            self._is_local,
            stack,
            clock,
            proxy.parsed_pages,
        )
        self._surroundings = Surroundings(settings, proxy.cache, proxy.events, clock, proxy.traffic)
        self._mirrors: list[tuple[tuple[object, ...], Mirror]] = []

    def _is_local(self, index: str) -> bool:
        return any(each.name == index for each in self._proxy.directories)

    async def build(self, node: IndexNode) -> Index:
        """The index of that name; a name that occurs twice in the tree is one index."""
        built = self._proxy.indexes
        if node.name not in built:
            index, policies = await self._open(node), self._policies(node.table)
            built[node.name] = self._guarded(node.name, index, policies) if policies else index
        return built[node.name]

    async def _open(self, node: IndexNode) -> Index:
        table = node.table
        if isinstance(table, LocalTable):
            return await self._local(node.name, table)
        if isinstance(table, MirrorTable):
            return await self._mirror(node.name, table)
        children = {child.name: await self.build(child) for child in node.children}
        if isinstance(table, RoutedTable):
            opened = open_routed(node.name, table, children, self._surroundings)
            return await self._stack.enter_async_context(opened)
        assert isinstance(table, FallthroughTable)
        merges = matcher(table.merge) if table.merge else None
        return Fallthrough(node.name, list(children.values()), merges)

    def _guarded(self, name: str, index: Index, policies: list[Policy]) -> Guarded:
        known = self._knowledge
        return Guarded(index, policies, self._clock, known.epoch, known.parsed_pages, name)

    def _policies(self, table: IndexTable) -> list[Policy]:
        """The policies of an index, those first that keep private names from an upstream."""
        policies = build_policies(table, self._settings, self._knowledge)
        if not isinstance(table, MirrorTable):
            return policies
        reserved: list[Policy] = [Reserved(table.reserved)] if table.reserved else []
        return [*reserved, Withheld(self._proxy.cache.claims.is_withheld), *policies]

    async def _local(self, name: str, table: LocalTable) -> Index:
        """One directory, or several as one index; logs then say which one is meant."""
        if len(table.roots) == 1:
            return await self._directory(name, table, table.roots[0])
        opened = [await self._directory(f"{name} ({root})", table, root) for root in table.roots]
        return Merged(name, opened)

    async def _directory(self, name: str, table: LocalTable, root: Path) -> LocalDirectory:
        directory = LocalDirectory(
            name,
            root,
            self._proxy.cache.records,
            self._proxy.events,
            claims=self._proxy.cache.claims,
            legacy=table.legacy_files,
            optional=isinstance(table, DefaultDirectory),
            extra_files=table.extra_files,
            watch=table.watch,
            clock=self._clock,
        )
        await directory.open()
        self._stack.push_async_callback(directory.close)
        self._proxy.directories.append(directory)
        return directory

    async def _mirror(self, name: str, table: MirrorTable) -> Mirror:
        """Indexes of one upstream share a mirror, unless its settings differ."""
        settings = self._settings.of_index(table)
        key = same_upstream(table, settings)
        for known, mirror in self._mirrors:
            if known == key:
                return mirror
        mirror = await self._stack.enter_async_context(
            open_mirror(
                name,
                table,
                settings,
                self._proxy.cache,
                self._proxy.events,
                self._clock,
                self._proxy.traffic,
            )
        )
        self._mirrors.append((key, mirror))
        self._proxy.mirrors.append(mirror)
        return mirror
