"""Opens a mirror: the connections to its upstream, its page cache, its files."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from proxy.composition.cache import Cache
from proxy.composition.index_tree import IndexTree
from proxy.composition.open_peers import open_peers
from proxy.composition.upstream_connections import address, addresses, open_upstream, origin
from proxy.config import MirrorTable, ReleasesTable, Settings, UpstreamTable
from proxy.events import Observer, UpstreamFailed
from proxy.indexes import (
    DigestHistory,
    FileDownloads,
    Lifetimes,
    Mirror,
    MirrorFiles,
    MirrorOptions,
    MirrorPages,
    MirrorSiblings,
    MirrorStorage,
    OfflinePages,
    OtherAddresses,
    PageCache,
    PageSource,
    ProjectDocuments,
    RemovedFiles,
    UpstreamList,
)
from proxy.prefetch import PrefetchLimits
from proxy.storage import CachedFiles
from proxy.upstream import InFlight, Mirrors, Peers, Remote, RemoteIndex

if TYPE_CHECKING:
    from proxy.indexes import ReleaseIndex


@asynccontextmanager
async def open_mirror(
    name: str,
    table: UpstreamTable,
    settings: Settings,
    cache: Cache,
    events: Observer,
    clock: Callable[[], float],
    traffic: InFlight | None = None,
    *,
    lists_refused_hosts: bool = False,
) -> AsyncIterator[Mirror]:
    """``settings``: those in force for the index, as in ``Settings.of_index``.

    At the end running downloads get ``shutdown_grace`` seconds. ``traffic`` counts requests.
    ``lists_refused_hosts`` as in ``MirrorOptions``. Raises ``ConfigurationError``.
    """
    storage = mirror_storage(cache, origin(table, settings).namespace)
    options = mirror_options(table, settings)
    if lists_refused_hosts:
        options = msgspec.structs.replace(options, lists_refused_hosts=True)
    async with AsyncExitStack() as stack:
        remote: Remote | Mirrors | ReleaseIndex | None = None
        lists: Remote | ReleaseIndex | None = None
        if isinstance(table, ReleasesTable) and not settings.offline:
            from proxy.composition.open_releases import open_releases  # most servers have none

            opened = open_upstream(name, table, settings, traffic, clock)
            transport = await stack.enter_async_context(opened)
            remote = lists = await stack.enter_async_context(
                open_releases(name, table, settings, transport, cache.records, storage.files, clock)
            )
        elif isinstance(table, MirrorTable) and not settings.offline:
            remotes = [
                await stack.enter_async_context(_open_remote(name, each, settings, traffic, clock))
                for each in addresses(table)
            ]
            remote = lists = remotes[0]
            if table.mirrors:
                remote = Mirrors(
                    remotes,
                    patience=settings.soft_deadline,
                    blamed=lambda project, why: events(UpstreamFailed(name, project, why)),
                    clock=clock,
                )
        listed = None
        if settings.list_upstream:
            path = cache.folder / "lists" / f"{storage.namespace}.names"
            listed = UpstreamList(name, path, lists, clock)
        peers = await stack.enter_async_context(open_peers(settings, events, clock))
        grace = settings.shutdown_grace
        yield await stack.enter_async_context(
            _assembled(name, remote, storage, options, events, clock, grace, listed, peers)
        )


@asynccontextmanager
async def _open_remote(
    name: str,
    table: MirrorTable,
    settings: Settings,
    traffic: InFlight | None,
    clock: Callable[[], float],
) -> AsyncIterator[Remote]:
    async with open_upstream(name, table, settings, traffic, clock) as transport:
        yield Remote(
            name,
            address(table, settings)[0],
            transport,
            missing_statuses=frozenset(table.missing_statuses),
            page_limit=int(settings.max_page_size),
            clock=clock,
        )


@asynccontextmanager
async def _assembled(
    name: str,
    remote: RemoteIndex | None,
    storage: MirrorStorage,
    options: MirrorOptions,
    events: Observer,
    clock: Callable[[], float],
    grace: float,
    upstream_list: UpstreamList | None = None,
    peers: Peers | None = None,
) -> AsyncIterator[Mirror]:
    """The parts put together, without a ``remote`` offline. At the end running downloads get
    ``grace`` seconds."""
    removed = RemovedFiles(storage.files, storage.blobs)
    history = DigestHistory(
        name,
        storage.namespace,
        storage.records,
        events,
        options.on_changed_file,
        removed=removed if options.show_removed_files else None,
        adds_first_seen=options.keep_first_seen,
        trusts_dates=options.trust_dates,
        clock=clock,
    )
    memory = PageCache(
        name,
        storage.namespace,
        storage.pages,
        options.lifetimes,
        events,
        allows=_any_origin if remote is None or options.lists_refused_hosts else remote.allows,
        history=history,
        extra_files=options.extra_files,
    )
    pages: PageSource = (
        MirrorPages(name, remote, memory, storage, events, options, clock)
        if remote
        else OfflinePages(memory, storage, options, clock)
    )
    downloads = FileDownloads(name, storage, options, events, pages.recheck, clock, peers)
    others = OtherAddresses(name, remote) if isinstance(remote, Mirrors) else None
    files = MirrorFiles(remote, storage, downloads, pages.renewed, clock, others)
    siblings = MirrorSiblings(name, remote, files, storage, clock)
    mirror = Mirror(
        name,
        pages,
        memory,
        files,
        siblings,
        ProjectDocuments(remote, clock),
        events,
        clock,
        refuses_vanished=options.refuse_removed_files,
        redirects=options.redirects,
        upstream_list=upstream_list,
    )
    try:
        yield mirror
    finally:
        await mirror.close(grace)
        await history.close()


def mirror_storage(cache: Cache, namespace: str) -> MirrorStorage:
    return MirrorStorage(
        namespace=namespace,
        blobs=cache.store,
        records=cache.records,
        pages=cache.pages,
        files=CachedFiles(cache.records, namespace),
        spool=cache.spool,
        room=cache.evictor.room,
        used=cache.used.note,
        page_leases=cache.page_leases,
        file_leases=cache.file_leases,
    )


def mirror_options(table: UpstreamTable, settings: Settings) -> MirrorOptions:
    return MirrorOptions(
        lifetimes=Lifetimes(
            maximum=settings.page_ttl,
            minimum=settings.page_ttl_min,
            while_revalidate=settings.stale_while_revalidate,
            if_error=settings.stale_if_error,
            absence=settings.absence_ttl,
        ),
        soft_deadline=settings.soft_deadline,
        honour_no_store=settings.honour_no_store,
        outlives_upstream=isinstance(table, MirrorTable) and table.follow,
        on_changed_file=settings.on_changed_file,
        show_removed_files=settings.vanished_files == "show",
        refuse_removed_files=settings.vanished_files == "refuse",
        keep_first_seen=_needs_first_seen(settings),
        trust_dates=table.trust_dates,
        extra_files=isinstance(table, MirrorTable) and table.extra_files,
        stores_files=table.mode == "proxy",
        redirects=table.mode == "redirect" and not settings.offline,
        list_all_offline=settings.offline_list_all,
        max_file_size=int(settings.max_file_size),
    )


def _needs_first_seen(settings: Settings) -> bool:
    """Whether any policy may ask when a file was first listed."""
    return any(
        getattr(each, "unknown", None) == "first-seen" for each in settings.all_policies.values()
    )


def _any_origin(origin: str) -> bool:
    """Offline nothing is fetched, so files may be listed at any origin."""
    return True


def prefetch_limits(tree: IndexTree, settings: Settings) -> PrefetchLimits | None:
    """None if nothing is prefetched from any mirror."""
    mirrors = {
        leaf.name: leaf.table for leaf in tree.leaves if isinstance(leaf.table, UpstreamTable)
    }
    levels = {name: settings.of_index(table).speculate for name, table in mirrors.items()}
    if all(level == "off" for level in levels.values()):
        return None
    return PrefetchLimits(
        frozenset(name for name, level in levels.items() if level == "off"),
        frozenset(
            name
            for name, table in mirrors.items()
            if levels[name] == "metadata" or table.mode != "proxy"  # it would be fetched twice
        ),
    )
