"""The source of a download's bytes if the settings name peers: a peer, else upstream."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec

from proxy.errors import DigestMismatch
from proxy.indexes.mirror.links import Link
from proxy.upstream import ANY_TAG, Body, Peer, PeerFile, Peers


class PeersFirst:
    """Asks peers for a file whose sha256 is known, once, and then upstream.

    If a peer breaks off, upstream is asked for the rest; if a peer sends wrong bytes, for all.
    """

    def __init__(self, peers: Peers, link: Link, answered: Callable[[], None]) -> None:
        """``answered`` is called when a peer begins to send."""
        self._peers = peers
        self._link = link
        self._answered = answered
        self._peer: Peer | None = None
        """The one whose bytes a download has, in whole or in part."""
        self._peers_asked = False

    @asynccontextmanager
    async def open(self, start: int, etag: str | None) -> AsyncIterator[Body]:
        """As ``Fetch``."""
        file = self._link.file
        if file.sha256 is not None and not self._peers_asked:
            self._peers_asked = True
            wanted = PeerFile(self._link.project, file.filename, file.sha256, file.size)
            async with self._peers.open(wanted) as found:
                if found is not None:
                    self._peer = found.peer
                    self._answered()
                    yield found.body
                    return
        async with self._from_upstream(start, etag) as body:
            yield body

    @asynccontextmanager
    async def _from_upstream(self, start: int, etag: str | None) -> AsyncIterator[Body]:
        """The tag of a peer means nothing to upstream: the digest of the page proves the rest."""
        goes_on = self._peer is not None and start > 0
        async with self._link.open(start, ANY_TAG if goes_on else etag) as body:
            tag = etag if goes_on and body.start else body.etag
            yield msgspec.structs.replace(body, etag=tag)

    def distrust(self, error: DigestMismatch) -> bool:
        """The bytes were wrong. Whether another source may have the right ones."""
        peer, self._peer = self._peer, None
        if peer is None:
            return self._link.distrust(error)
        peer.distrust(error.reason)
        return True
