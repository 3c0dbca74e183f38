"""One mirror put together: its upstream, its memory of pages, its files.

Settings to what bundles need of them: which indexes are mirrored, and how a cache keys them.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.request import getproxies

from proxy.composition.cache import Cache
from proxy.composition.index_tree import leaves, resolve_tree
from proxy.config import MirrorTable, Settings
from proxy.events import Observer
from proxy.indexes import (
    DigestHistory,
    FileDownloads,
    Lifetimes,
    Mirror,
    MirrorFiles,
    MirrorPages,
    MirrorSiblings,
    OfflinePages,
    PageCache,
    PageSource,
    PageStore,
    RemovedFiles,
)
from proxy.model import ProjectPage
from proxy.storage import CachedFiles
from proxy.upstream import (
    Credentials,
    Downloads,
    InFlight,
    Remote,
    Timeouts,
    Transport,
    UpstreamOrigin,
    find_credentials,
    fingerprint,
    open_transport,
)


@asynccontextmanager
async def open_mirror(
    name: str,
    table: MirrorTable,
    settings: Settings,
    cache: Cache,
    events: Observer,
    clock: Callable[[], float],
    traffic: InFlight | None = None,
) -> AsyncIterator[Mirror]:
    """At the end running downloads get ``shutdown_grace`` seconds. ``traffic`` counts requests.

    Raises ``ConfigurationError``.
    """
    url, credentials = address(table, settings)
    namespace = fingerprint(url, credentials)
    if settings.offline:
        async with _assembled(name, namespace, None, settings, cache, events, clock) as mirror:
            yield mirror
        return
    async with open_upstream(name, table, settings, traffic, clock) as transport:
        remote = Remote(
            name,
            url,
            transport,
            missing_statuses=frozenset(table.missing_statuses),
            page_limit=int(settings.max_page_size),
            clock=clock,
        )
        async with _assembled(name, namespace, remote, settings, cache, events, clock) as mirror:
            yield mirror


def open_upstream(
    name: str,
    table: MirrorTable,
    settings: Settings,
    traffic: InFlight | None = None,
    clock: Callable[[], float] = time.time,
) -> AbstractAsyncContextManager[Transport]:
    """The connections to an upstream. ``traffic`` counts requests. May raise
    ``ConfigurationError``."""
    url, credentials = address(table, settings)
    return open_transport(
        name,
        url,
        credentials=credentials,
        file_hosts=table.file_hosts,
        proxies=_proxies(settings),
        connections=settings.upstream_connections,
        retries=settings.retries,
        timeouts=Timeouts(settings.connect_timeout, settings.read_timeout, settings.page_timeout),
        ca_bundle=settings.ca_bundle,
        client_certificate=settings.client_certificate,
        client_key=settings.client_key,
        in_flight=traffic,
        clock=clock,
    )


def address(table: MirrorTable, settings: Settings) -> tuple[str, Credentials | None]:
    """Where the upstream is, without credentials, and those that are meant for it.

    Raises ``ConfigurationError``.
    """
    return find_credentials(
        str(table.url),
        user=table.username,
        password=table.password.get_secret_value() if table.password else None,
        netrc=_netrc() if settings.netrc else None,
    )


@asynccontextmanager
async def _assembled(
    name: str,
    namespace: str,
    remote: Remote | None,
    settings: Settings,
    cache: Cache,
    events: Observer,
    clock: Callable[[], float],
) -> AsyncIterator[Mirror]:
    lifetimes = _lifetimes(settings)
    held = CachedFiles(cache.records, namespace)
    allows = remote.allows if remote else _any
    ledger = DigestHistory(
        name, namespace, cache.records, events, settings.on_changed_file, clock=clock
    )
    vanished = RemovedFiles(namespace, cache.records, held, cache.store)
    memory = PageCache(
        name,
        PageStore(namespace, cache.pages),
        lifetimes,
        events,
        allows=allows,
        review=_review(ledger, vanished) if settings.vanished_files == "show" else ledger.review,
        also_make_room=ledger.make_room,
    )
    pages: PageSource
    if remote:
        pages = MirrorPages(
            name,
            remote,
            memory,
            events,
            lifetimes,
            soft_deadline=settings.soft_deadline,
            honour_no_store=settings.honour_no_store,
            clock=clock,
        )
    else:
        pages = OfflinePages(memory, cache.store, held, clock, list_all=settings.offline_list_all)
    downloads = FileDownloads(
        name,
        Downloads(cache.store, cache.spool, room=cache.evictor.room),
        held,
        events,
        used=cache.used.note,
        suspect=pages.recheck,
        limit=int(settings.max_file_size),
        clock=clock,
    )
    files = MirrorFiles(
        remote,
        cache.store,
        held,
        downloads,
        used=cache.used.note,
        renew=pages.renewed,
        clock=clock,
    )
    metadata = MirrorSiblings(
        name,
        remote,
        files,
        cache.store,
        cache.records,
        namespace,
        cache.spool,
        room=cache.evictor.room,
        clock=clock,
    )
    mirror = Mirror(name, pages, memory, files, metadata, events, clock)
    try:
        yield mirror
    finally:
        await mirror.close(settings.shutdown_grace)
        await ledger.close()


def _review(
    ledger: DigestHistory, vanished: RemovedFiles
) -> Callable[[ProjectPage], Awaitable[ProjectPage]]:
    async def review(page: ProjectPage) -> ProjectPage:
        return await vanished.shown(await ledger.review(page))

    return review


def _lifetimes(settings: Settings) -> Lifetimes:
    return Lifetimes(
        maximum=settings.page_ttl,
        minimum=settings.page_ttl_min,
        while_revalidate=settings.stale_while_revalidate,
        if_error=settings.stale_if_error,
        absence=settings.absence_ttl,
    )


def _proxies(settings: Settings) -> Mapping[str, str]:
    """Which outgoing proxy to take: the one that is set, else as the environment says."""
    if settings.outgoing_proxy:
        return {"all": str(settings.outgoing_proxy)}
    return getproxies()


def _netrc() -> Path:
    return Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))  # noqa: PTH111 (works without a home)


def _any(origin: str) -> bool:
    """Offline nothing is fetched, so no link leads anywhere."""
    return True


def mirrored(settings: Settings) -> dict[str, UpstreamOrigin]:
    """Every upstream index by its name in the settings. Raises ``ConfigurationError``."""
    found = {}
    for leaf in leaves(resolve_tree(settings)):
        if isinstance(leaf.table, MirrorTable):
            url, credentials = address(leaf.table, settings)
            found[leaf.name] = UpstreamOrigin(url, fingerprint(url, credentials))
    return found
