"""Opens a mirror: the connections to its upstream, its page cache, its files.

Also says which upstreams the settings mirror, and under which keys a cache stores them.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.request import getproxies

from proxy.composition.cache import Cache
from proxy.composition.index_checks import upstream_url
from proxy.composition.index_tree import resolve_tree
from proxy.config import MirrorTable, Settings, UpstreamSettings
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
from proxy.storage import CachedFiles
from proxy.upstream import (
    Credentials,
    InFlight,
    Mirrors,
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
    """``settings``: those in force for the index, as in ``Settings.of_index``.

    At the end running downloads get ``shutdown_grace`` seconds. ``traffic`` counts requests.
    Raises ``ConfigurationError``.
    """
    url, credentials = address(table, settings)
    storage = mirror_storage(cache, fingerprint(url, credentials))
    options = mirror_options(table, settings)
    async with AsyncExitStack() as stack:
        remote: Remote | Mirrors | None = None
        remotes: list[Remote] = []
        if not settings.offline:
            remotes = [
                await stack.enter_async_context(_open_remote(name, each, settings, traffic, clock))
                for each in addresses(table)
            ]
            remote = remotes[0]
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
            listed = UpstreamList(name, path, remotes[0] if remotes else None, clock)
        grace = settings.shutdown_grace
        yield await stack.enter_async_context(
            _assembled(name, remote, storage, options, events, clock, grace, listed)
        )


def addresses(table: MirrorTable) -> list[MirrorTable]:
    """A table for each address of the content; only the first has the credentials."""
    bare: dict[str, Any] = {"username": None, "password": None, "mirrors": []}
    others = [table.model_copy(update={**bare, "url": url}) for url in table.mirrors]
    return [table, *others]


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
        proxies=outgoing_proxies(settings),
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
    """The upstream's URL without credentials, and its credentials.

    Raises ``ConfigurationError``.
    """
    return find_credentials(
        str(upstream_url(table)),
        user=table.username,
        password=table.password.get_secret_value() if table.password else None,
        netrc=_netrc() if settings.netrc else None,
    )


_RULES = ("reserved", "policies", "as_of")
"""Keys that act outside of the mirror."""


def same_upstream(table: MirrorTable, settings: Settings) -> tuple[object, ...]:
    """The identity of a mirror: indexes with equal ones share one mirror."""
    inherited = UpstreamSettings.model_fields
    own = table.model_dump(exclude={*inherited, *_RULES, "url", "username", "password"})
    return (*address(table, settings), own, *(getattr(settings, name) for name in inherited))


@asynccontextmanager
async def _assembled(
    name: str,
    remote: Remote | Mirrors | None,
    storage: MirrorStorage,
    options: MirrorOptions,
    events: Observer,
    clock: Callable[[], float],
    grace: float,
    upstream_list: UpstreamList | None = None,
) -> AsyncIterator[Mirror]:
    """The parts put together, without a ``remote`` offline. At the end running downloads get
    ``grace`` seconds."""
    removed = RemovedFiles(storage.namespace, storage.records, storage.files, storage.blobs)
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
        allows=remote.allows if remote else _any_origin,
        history=history,
        extra_files=options.extra_files,
    )
    pages: PageSource = (
        MirrorPages(name, remote, memory, storage, events, options, clock)
        if remote
        else OfflinePages(memory, storage, options, clock)
    )
    downloads = FileDownloads(name, storage, options, events, pages.recheck, clock)
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


def mirror_options(table: MirrorTable, settings: Settings) -> MirrorOptions:
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
        on_changed_file=settings.on_changed_file,
        show_removed_files=settings.vanished_files == "show",
        refuse_removed_files=settings.vanished_files == "refuse",
        keep_first_seen=_needs_first_seen(settings),
        trust_dates=table.trust_dates,
        extra_files=table.extra_files,
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


def outgoing_proxies(settings: Settings) -> Mapping[str, str]:
    """The outgoing proxy of the settings, else those of the environment."""
    if settings.outgoing_proxy:
        return {"all": str(settings.outgoing_proxy)}
    return getproxies()


def _netrc() -> Path:
    return Path(os.environ.get("NETRC") or os.path.expanduser("~/.netrc"))  # noqa: PTH111 (works without a home)


def _any_origin(origin: str) -> bool:
    """Offline nothing is fetched, so files may be listed at any origin."""
    return True


def mirrored(settings: Settings) -> dict[str, UpstreamOrigin]:
    """Every mirrored upstream by index name. Raises ``ConfigurationError``."""
    found = {}
    for leaf in resolve_tree(settings).leaves:
        if isinstance(leaf.table, MirrorTable):
            url, credentials = address(leaf.table, settings.of_index(leaf.table))
            found[leaf.name] = UpstreamOrigin(url, fingerprint(url, credentials))
    return found
