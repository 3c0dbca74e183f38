"""Opens the connections to peers: the servers on the same network that the settings name."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

from pydantic import HttpUrl

from proxy.composition.index_checks import without_credentials
from proxy.composition.index_tree import IndexTree
from proxy.composition.upstream_connections import netrc_file, upstream_options
from proxy.config import Settings, UpstreamTable
from proxy.events import Observer, PeerAsked
from proxy.upstream import (
    Peer,
    Peers,
    Timeouts,
    Transport,
    find_credentials,
    open_transport,
    peer_problem,
)

CONNECT = 0.3
"""The part of ``peer_timeout`` that connecting may take before."""


@asynccontextmanager
async def open_peers(
    settings: Settings, events: Observer, clock: Callable[[], float] = time.time
) -> AsyncIterator[Peers | None]:
    """None without peers. Raises ``ConfigurationError``."""
    if not settings.peers or settings.offline:
        yield None
        return
    async with AsyncExitStack() as stack:
        peers = []
        for each in settings.peers:
            url, opened = _connections(each, settings, clock)
            peers.append(Peer(url, await stack.enter_async_context(opened), clock))
        yield Peers(
            peers,
            lambda result, size: events(PeerAsked(result, size)),
            patience=settings.peer_timeout,
        )


def _connections(
    peer: HttpUrl, settings: Settings, clock: Callable[[], float]
) -> tuple[str, AbstractAsyncContextManager[Transport]]:
    """The address without credentials, and the connections.

    They are direct, as a peer is on the same network. One failure is enough to leave a peer alone
    for a while: upstream has the file as well. Requests to peers do not count as those to upstream.
    """
    netrc = netrc_file() if settings.netrc else None
    url, credentials = find_credentials(str(peer), netrc=netrc)
    connect, read = CONNECT * settings.peer_timeout, settings.peer_timeout
    options = upstream_options(
        settings,
        credentials,
        file_hosts=[urlsplit(url).netloc],  # so that no redirect leads elsewhere
        proxies={},
        timeouts=Timeouts(connect, read, connect + read),
        retries=0,
        breaker_limit=1,
    )
    transport = open_transport("peer", url, options, clock=clock)
    return url if url.endswith("/") else f"{url}/", transport


async def peer_attempts(
    settings: Settings, tree: IndexTree
) -> AsyncIterator[tuple[str, str | None]]:
    """Each peer of each upstream, and why it sends no files; None: it would."""
    if settings.offline:
        return
    tables = [each.table for each in tree.leaves if isinstance(each.table, UpstreamTable)]
    for in_force in map(settings.of_index, tables):
        for each in in_force.peers:
            url, opened = _connections(each, in_force, time.time)
            async with opened as transport:
                yield f"peer {without_credentials(each)}", await peer_problem(url, transport)
