"""The running proxy: its cache, the indexes of the settings, and their replacement by others."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TYPE_CHECKING

from proxy.access import Access, FailureLimits
from proxy.composition.builder import IndexSet, open_indexes
from proxy.composition.cache import Cache, open_cache
from proxy.composition.ground import Ground
from proxy.composition.index_tree import IndexTree, resolve_tree
from proxy.composition.open_mirror import prefetch_limits
from proxy.composition.open_sites import FirstSite, announce_renewed
from proxy.composition.open_storage import probing_store
from proxy.composition.policies import Epoch
from proxy.composition.watch_others import announcer, warn_of_withheld, watch_others
from proxy.config import Settings
from proxy.errors import ProxyError
from proxy.events import Events
from proxy.indexes import Index, Mirror, PrivateIndex
from proxy.model import ProjectName
from proxy.policies import ParsedPages
from proxy.prefetch import Prefetching, WorkerMarks, open_prefetchers
from proxy.runtime import BackgroundQueue, end_tasks
from proxy.upstream import InFlight, UpstreamTrace

if TYPE_CHECKING:
    from proxy.advisories import AdvisoryRefresher
    from proxy.publish import Publisher
    from proxy.webhooks import Delivery

log = logging.getLogger(__name__)


class Proxy:
    """The running indexes: the one that is served at the root, and all others."""

    def __init__(self, ground: Ground, marks: WorkerMarks | None = None) -> None:
        """``marks`` as in ``open_prefetchers``."""
        self._ground = ground
        self._marks = marks
        self._stack = AsyncExitStack()
        self._opened: IndexSet
        self._limits = FailureLimits(ground.clock)
        self.access: Access | None = None
        """The access rules; None: every client may read."""
        self.deliveries: Sequence[Delivery] = ()
        """Of changes to webhooks, in this process, which need not be the one that delivers."""
        self.prefetching: Prefetching | None = None
        self._revalidations = BackgroundQueue(self._revalidate)

    async def load(self, settings: Settings) -> AsyncExitStack:
        """Replace all indexes by those of the settings; returns what closes the former ones.

        Mirrors and directories of which the settings are the same stay open, with their caches
        and downloads. Raises ``ConfigurationError``; then nothing is replaced.
        """
        async with AsyncExitStack() as stack:
            opened = await open_indexes(settings, self._ground, stack)
            prefetching = await self._open_prefetching(settings, opened, stack)
            access = await self._open_access(settings, stack)
            kept = stack.pop_all()
        former, self._stack = self._stack, kept
        self.access = access
        self._opened, self.prefetching = opened, prefetching
        return former

    async def retire(self, former: AsyncExitStack) -> None:
        """Close former indexes. Names of directories that are no longer served are withheld."""
        await former.aclose()
        roots = {directory.root for directory in self.directories}
        self.cache.claims.served.intersection_update(roots)

    async def _open_access(self, settings: Settings, stack: AsyncExitStack) -> Access | None:
        if settings.access is None:
            return None
        from proxy.composition.open_access import open_access  # most servers control no access

        return await stack.enter_async_context(
            open_access(settings.access, settings, self.events, self._limits, self._ground.clock)
        )

    async def _open_prefetching(
        self, settings: Settings, opened: IndexSet, stack: AsyncExitStack
    ) -> Prefetching | None:
        limits = prefetch_limits(opened.tree, settings)
        if limits is None or settings.offline:
            return None
        return await stack.enter_async_context(
            open_prefetchers(
                dict.fromkeys(opened.served.values()),
                self.cache.records,
                self.events,
                lambda: self._ground.traffic.under_way,
                connections=settings.upstream_connections,
                limits=limits,
                marks=self._marks,
                clock=self._ground.clock,
            )
        )

    @property
    def events(self) -> Events:
        return self._ground.events

    @property
    def cache(self) -> Cache:
        return self._ground.cache

    @property
    def traffic(self) -> InFlight:
        """Counts the requests to all upstreams."""
        return self._ground.traffic

    @property
    def epoch(self) -> Epoch:
        """Grows with each new fact of the policies."""
        return self._ground.epoch

    @property
    def parsed_pages(self) -> ParsedPages:
        return self._ground.parsed_pages

    @property
    def tree(self) -> IndexTree:
        return self._opened.tree

    @property
    def indexes(self) -> Mapping[str, Index]:
        """Every index of the settings by its name."""
        return self._opened.indexes

    @property
    def index(self) -> Index:
        """The index at the root."""
        return self._opened.served[""]

    @property
    def served(self) -> Mapping[str, Index]:
        """Each index that is served, by the path below which its addresses are."""
        return self._opened.served

    @property
    def upload_targets(self) -> Mapping[str, Publisher]:
        """The target of uploads for each path of ``served``."""
        return self._opened.upload_targets

    @property
    def publishers(self) -> Iterable[Publisher]:
        """Those of all local indexes that accept uploads."""
        return self._opened.publishers.values()

    @property
    def sites(self) -> Sequence[FirstSite]:
        """The servers that are followed."""
        return self._opened.sites

    def site_of(self, path: str) -> FirstSite | None:
        """The server to which uploads to the index at that path are passed on, if there is one."""
        return next((site for site in self.sites if path in site.paths), None)

    @property
    def directories(self) -> Sequence[PrivateIndex]:
        return self._opened.directories

    @property
    def mirrors(self) -> Sequence[Mirror]:
        return self._opened.mirrors

    @property
    def advisories(self) -> AdvisoryRefresher | None:
        """None: the settings name no source of advisories."""
        return self._opened.advisories

    async def project_document(
        self, sources: Collection[str], project: ProjectName, version: str = ""
    ) -> bytes:
        """The document that the first mirror among these indexes gets from the JSON API of its
        upstream.

        ``sources``: the indexes that answered with the project's page, so that the document is
        never of a public project with a private name. Empty if there is none.
        """
        for mirror in self.mirrors:
            if mirror.name in sources:
                return await mirror.documents.get(project, version)
        return b""

    def poll(self) -> None:
        """Let local directories announce what has changed by now; takes microseconds."""
        for directory in self._opened.directories:
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

    def forget_pages(self, project: ProjectName) -> None:
        """Drop the project's pages from memory: those that are stored are read again."""
        for mirror in self.mirrors:
            mirror.forget(project)

    def doubt_pages(self) -> None:
        """Have pages in memory compared with those that are stored, or revalidated, before they
        are answered: news of other processes may have been missed."""
        for mirror in self.mirrors:
            mirror.doubt_pages()

    async def announce_renewed(self, project: ProjectName) -> None:
        """Have all processes read its pages again that were revalidated here."""
        await announce_renewed(self.mirrors, self.cache, [project])

    async def close(self) -> None:
        """Wait for what runs in the background, and close the indexes."""
        await self._revalidations.close()
        await self._stack.aclose()

    async def _revalidate(self, page: tuple[str, ProjectName]) -> None:
        index, project = page
        if found := self.indexes.get(index):
            with suppress(ProxyError):
                await found.page(project)  # the index decides whether to ask upstream


@asynccontextmanager
async def open_proxy(
    settings: Settings,
    clock: Callable[[], float] = time.time,
    events: Events | None = None,
    marks: WorkerMarks | None = None,
    traces: Iterable[UpstreamTrace] = (),
) -> AsyncIterator[Proxy]:
    """The running indexes. At the end running downloads get ``shutdown_grace`` seconds.

    ``events`` may have observers already; ``marks`` are as in ``open_prefetchers``, ``traces`` as
    in ``InFlight``. Raises ``ConfigurationError``.
    """
    resolve_tree(settings)  # an error comes before the cache is opened
    async with AsyncExitStack() as stack:
        events = events or Events()
        cache = await stack.enter_async_context(open_cache(settings, clock, events))
        await stack.enter_async_context(probing_store(settings, cache.objects))
        await cache.tidy(evict=not settings.offline)
        epoch = Epoch(events, announcer(cache.announce, stack))
        traffic = InFlight(events, traces)
        proxy = Proxy(Ground(events, cache, traffic, epoch, clock), marks)
        await cache.claims.load(cache.records)
        stack.push_async_callback(proxy.close)
        await proxy.load(settings)
        warn_of_withheld(cache.claims)
        watcher = asyncio.create_task(watch_others(proxy))
        stack.push_async_callback(end_tasks, watcher)
        yield proxy
