"""Other servers on the same network, which are asked for the bytes of a file before upstream is.

A peer answers from its store at once, and asks neither upstream nor its own peers: servers that
name each other make no loop. Bytes of a peer are verified like those of upstream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from typing import Literal, NamedTuple
from urllib.parse import quote

import msgspec

from proxy.errors import UpstreamError
from proxy.model import ProjectName
from proxy.runtime import end_tasks
from proxy.upstream.answers import Body
from proxy.upstream.headers import content_encoding, content_length, is_strong_tag
from proxy.upstream.mirrors import DISTRUST
from proxy.upstream.transport import Transport, UpstreamAnswer

log = logging.getLogger(__name__)

SLOWEST = 250_000
"""Bytes in a second, below which a peer is left for upstream."""
PeerResult = Literal["hit", "miss", "broken"]
"""Miss: no peer had the file; broken: one did not send all of it."""
_REFUSALS = (401, 403)
_PEER_HEADERS = {"Accept": "*/*", "Accept-Encoding": "identity"}


class PeerFile(msgspec.Struct, frozen=True):
    """A file as a page of upstream lists it."""

    project: ProjectName
    filename: str
    sha256: str
    size: int | None

    @property
    def path(self) -> str:
        """Below the address of an index. The name lets a peer apply its rules to the file."""
        return f"-/blobs/{self.sha256}/{self.project}/{quote(self.filename, safe='')}"

    def is_in(self, answer: UpstreamAnswer) -> bool:
        """Whether the answer brings these bytes, as far as its head says."""
        headers = answer.headers
        return (
            answer.status == 200
            and content_encoding(headers) is None
            and headers.get("ETag") == f'"sha256-{self.sha256}"'
            and (size := content_length(headers)) is not None
            and self.size in (None, size)
        )


class Peer:
    """One of the servers."""

    def __init__(
        self, url: str, transport: Transport, clock: Callable[[], float] = time.time
    ) -> None:
        """``url``: of an index there, with a slash at its end, and without credentials."""
        self.url = url
        self._transport = transport
        self._clock = clock
        self._trusted_from = 0.0
        self._refusal_logged = False

    @property
    def is_trusted(self) -> bool:
        return self._trusted_from <= self._clock()

    async def has(self, file: PeerFile) -> bool:
        try:
            answer, _ = await self._transport.fetch(
                self.url + file.path, _PEER_HEADERS, limit=0, method="HEAD"
            )
        except UpstreamError as error:
            log.debug("peer %s: %s", self.url, error)
            return False
        if answer.status in _REFUSALS and not self._refusal_logged:
            self._refusal_logged = True
            log.warning("peer %s: %s", self.url, _refusal(answer))
        return file.is_in(answer)

    def open(
        self, file: PeerFile
    ) -> AbstractAsyncContextManager[tuple[UpstreamAnswer, AsyncIterator[bytes]]]:
        """As ``Transport.stream``."""
        return self._transport.stream(self.url + file.path, _PEER_HEADERS)

    def distrust(self, reason: str) -> None:
        """It sent wrong bytes, and is not asked for a while."""
        log.warning("peer %s is not asked for %g s: %s", self.url, DISTRUST, reason)
        self._trusted_from = self._clock() + DISTRUST


class PeerBody(NamedTuple):
    peer: Peer
    body: Body


class Peers:
    """All of them. The first one that has a file sends it; none of them delays it for long."""

    def __init__(
        self, peers: Sequence[Peer], asked: Callable[[PeerResult, int], None], *, patience: float
    ) -> None:
        """``patience``: seconds that a body may take beyond those of ``SLOWEST``. ``asked`` is
        called once for each file, when its answer has ended, with the bytes that came.
        """
        self._peers = tuple(peers)
        self._asked = asked
        self._patience = patience

    @asynccontextmanager
    async def open(self, file: PeerFile) -> AsyncIterator[PeerBody | None]:
        """The whole file from a peer that has it; None: no peer sends it.

        Only the chunks of the body raise ``UpstreamError``.
        """
        counted = _Counted(self._patience)
        found: PeerBody | None = None
        try:
            async with AsyncExitStack() as stack:
                if peer := await self._holder(file):
                    found = await _opened(peer, file, stack, counted)
                yield found
        finally:
            self._asked(_result(found, counted.size), counted.size)

    async def _holder(self, file: PeerFile) -> Peer | None:
        """The peer that is the first to say that it has the file. All are asked at once."""
        trusted = [peer for peer in self._peers if peer.is_trusted]
        asked = {asyncio.create_task(peer.has(file)): peer for peer in trusted}
        waiting = set(asked)
        try:
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    if task.result():
                        return asked[task]
        finally:
            await end_tasks(*waiting)
        return None


def _result(found: PeerBody | None, size: int) -> PeerResult:
    if found is None:
        return "miss"
    return "hit" if size == found.body.total else "broken"


class _Counted:
    """Counts bytes that pass, and the time that they are waited for."""

    def __init__(self, patience: float) -> None:
        self.size = 0
        self._patience = patience

    async def chunks(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Raises ``UpstreamError`` if they come slowly."""
        waited, began = 0.0, time.monotonic()
        async for chunk in chunks:
            waited += time.monotonic() - began
            self.size += len(chunk)
            if waited > self._patience + self.size / SLOWEST:
                raise UpstreamError("peer", f"sends less than {SLOWEST} bytes a second")
            yield chunk
            began = time.monotonic()


async def _opened(
    peer: Peer, file: PeerFile, stack: AsyncExitStack, counted: _Counted
) -> PeerBody | None:
    try:
        answer, chunks = await stack.enter_async_context(peer.open(file))
    except UpstreamError as error:
        log.info("peer %s does not send %s: %s", peer.url, file.filename, error)
        return None
    if not file.is_in(answer):
        return None
    total, etag = content_length(answer.headers), is_strong_tag(answer.headers.get("ETag"))
    return PeerBody(peer, Body(counted.chunks(chunks), total=total, etag=etag))


def _refusal(answer: UpstreamAnswer) -> str:
    return f"it answered {answer.status}; a token that may read is needed"


async def peer_problem(url: str, transport: Transport) -> str | None:
    """Why the server at ``url`` sends no files, as a sentence for people; None: it would."""
    nothing = PeerFile(ProjectName("waystation"), "waystation-0.tar.gz", "0" * 64, None)
    try:
        answer, _ = await transport.fetch(url + nothing.path, _PEER_HEADERS, limit=0, method="HEAD")
    except UpstreamError as error:
        return error.reason
    if answer.status in _REFUSALS:
        return _refusal(answer)
    if answer.status != 404 or answer.headers.get("Server") != "waystation":
        return f"it answered {answer.status}; is that the address of a Waystation?"
    return None
