"""One question to an upstream, followed through its redirects: every hop has to pass all rules.

Trying again is in ``transport``; what is asked for, and what answers mean, in ``remote``.

Stops asking an upstream that cannot be reached, so that nobody queues for time-outs.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from string import punctuation
from types import SimpleNamespace
from urllib.parse import quote_from_bytes, urljoin

import msgspec
from aiohttp import ClientConnectorError, ClientResponse, ClientSession, ClientTimeout, TraceConfig
from yarl import URL

from proxy.errors import UpstreamError
from proxy.upstream.address_rules import Addresses, AddressRefused, origin_of
from proxy.upstream.answer_body import BodyChunks
from proxy.upstream.credentials import Credentials, mask, without_userinfo
from proxy.upstream.headers import Headers, content_range, printable_headers, retry_after
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.transport_errors import (
    TEMPORARY_STATUSES,
    TRANSPORT_ERRORS,
    RedirectRefused,
    RetryableStatus,
)

MAX_REDIRECTS = 30
"""Redirects, as many as pip follows."""
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_MAX_DRAINED = 64 * 2**10

log = logging.getLogger(__name__)


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds."""

    connect: float = 10.0
    read: float = 60.0
    """Between two pieces of an answer."""
    page: float = 30.0
    """For everything about a small answer: connecting, redirects, tries, reading."""

    @property
    def head(self) -> float:
        """From the request to the end of the headers, however they come: see ``head_timer``."""
        return self.connect + self.read


class UpstreamAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: Headers
    url: str
    """Where it came from, after redirects."""


class Redirects:
    """Asks with what it is given, credentials, and nothing of a client's."""

    def __init__(
        self,
        name: str,
        session: ClientSession,
        addresses: Addresses,
        outgoing: OutgoingProxies,
        *,
        credentials: Credentials | None = None,
        timeouts: Timeouts,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._session = session
        self._addresses = addresses
        self._outgoing = outgoing
        self._credentials = credentials
        self._timeouts = timeouts
        self._clock = clock
        self._breaker = Breaker(name, clock=clock)

    async def follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        deadline: float | None,
        named: bool,
    ) -> tuple[UpstreamAnswer, ClientResponse]:
        """The first answer that is no redirect; the response has to be closed, or read.

        ``deadline`` in the loop's time. ``named``: only hosts that the settings name. Raises
        ``UpstreamError``, and what ``TRANSPORT_ERRORS`` lists.
        """
        seen: set[str] = set()
        while len(seen) <= MAX_REDIRECTS:
            url = _quoted(without_userinfo(url).partition("#")[0])
            if url in seen:
                raise RedirectRefused(self._name, "redirects in a circle")
            seen.add(url)
            self._check(url, named)
            response = await self._ask(method, url, headers, deadline)
            target = response.headers.get("Location")
            if response.status not in _REDIRECT_STATUSES or target is None:
                status = _effective_status(response, headers, is_page=named)
                return UpstreamAnswer(status, printable_headers(response.headers), url), response
            async with response:
                await drain(response)
            url = self._next(url, target)
        raise RedirectRefused(self._name, f"redirects more than {MAX_REDIRECTS} times")

    def _next(self, url: str, target: str) -> str:
        """Where a redirect leads; an absolute address is left as it is, spelling and all."""
        try:
            following = target if _ABSOLUTE.match(target) else urljoin(url, target)
        except ValueError:  # such as //[
            raise RedirectRefused(self._name, "redirects to what is no address") from None
        if url.lower().startswith("https:") and not following.lower().startswith("https:"):
            raise RedirectRefused(self._name, "redirects from https to something else")
        return following

    def _check(self, url: str, named: bool) -> None:
        try:
            self._addresses.check(url, named=named)
        except AddressRefused as refusal:
            log.warning("upstream %s: refused %r: it %s", self._name, mask(url), refusal)
            raise

    async def _ask(
        self, method: str, url: str, headers: Mapping[str, str], deadline: float | None
    ) -> ClientResponse:
        """One request and its headers. Raises what ``TRANSPORT_ERRORS`` lists."""
        own = origin_of(url).host == self._addresses.index.host
        with self._breaker.attempt() if own else nullcontext():
            async with asyncio.timeout(self._timeouts.head) as head:
                response = await self._session.request(
                    method,
                    URL(url, encoded=True),  # signed queries and odd spellings have to stay
                    headers={**headers, **self._authorization(url)},
                    allow_redirects=False,
                    timeout=self._timeout(deadline),
                    proxy=self._outgoing.proxy_for(url),
                    trace_request_ctx=head,
                )
        if response.status in TEMPORARY_STATUSES:
            async with response:
                await drain(response)
            raise RetryableStatus(response.status, retry_after(response.headers, self._clock()))
        return response

    def _authorization(self, url: str) -> dict[str, str]:
        return self._credentials.headers_for(url) if self._credentials else {}

    def _timeout(self, deadline: float | None) -> ClientTimeout:
        left = None if deadline is None else deadline - asyncio.get_running_loop().time()
        return ClientTimeout(
            total=None if left is None else max(left, 0.001),
            sock_connect=self._timeouts.connect,
            sock_read=self._timeouts.read,
        )


def _effective_status(response: ClientResponse, asked: Mapping[str, str], *, is_page: bool) -> int:
    """The status as pip and uv take it: 200 where the whole of what was asked for follows.

    That is any success, and for a page also a redirect that leads nowhere: the page is read.
    """
    status = response.status
    if status == 206:
        part = "Range" in asked or "Content-Range" in response.headers
        return 206 if part and not (is_page and _is_whole(response)) else 200
    if 200 < status < 300 and status not in (204, 205):
        return 200
    return 200 if is_page and 300 <= status < 400 and status != 304 else status


def _is_whole(response: ClientResponse) -> bool:
    first, last, total = content_range(response.headers) or (1, 0, 0)
    return first == 0 and last + 1 == total


def head_timer(timeouts: Timeouts) -> TraceConfig:
    """Stops the time for a head while its request waits for one of the connections to be free."""

    async def queued(session: ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.reschedule(None)

    async def started(session: ClientSession, context: SimpleNamespace, _: object) -> None:
        now = asyncio.get_running_loop().time()
        context.trace_request_ctx.reschedule(now + timeouts.head)

    config = TraceConfig()
    config.on_connection_queued_start.append(queued)
    config.on_connection_queued_end.append(started)
    return config


def _quoted(url: str) -> str:
    """The address in ASCII; bytes that are not UTF-8 arrive as surrogates and stay as they are."""
    return quote_from_bytes(url.encode("utf-8", "surrogateescape"), safe=punctuation)


async def drain(response: ClientResponse) -> None:
    """Read a short rest, so that the connection can be used again; a long one is not worth it."""
    left = _MAX_DRAINED
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(1):
            async for chunk in BodyChunks(response, 1):
                left -= len(chunk)
                if left < 0:
                    return


class Breaker:
    """Opens after ``limit`` failed connections in a row; then one attempt each ``pause`` seconds.

    Any answer, be it an error status, counts as reached. So does a connection that breaks after
    it was made: one file on which upstream chokes must not close all others.
    """

    def __init__(
        self, index: str, *, clock: Callable[[], float], limit: int = 5, pause: float = 15.0
    ) -> None:
        self._index = index
        self._clock = clock
        self._limit = limit
        self._pause = pause
        self._failures = 0
        self._open_until: float | None = None
        self._on_trial = False

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Around one connection and its wait for headers. Raises ``UpstreamError`` while open."""
        trial = self._admit()
        try:
            yield
        except (ClientConnectorError, TimeoutError):
            self._failed(trial)
            raise
        finally:
            if trial:  # also where it was cancelled, which proves nothing: the next one tries
                self._on_trial = False
        self._failures, self._open_until = 0, None

    def _admit(self) -> bool:
        """Whether this is the one attempt that a pause ends with."""
        if self._open_until is None:
            return False
        left = self._open_until - self._clock()
        if left > 0 or self._on_trial:
            seconds = max(1, math.ceil(left))
            raise UpstreamError(self._index, "cannot be reached", retry_after=seconds)
        self._on_trial = True
        return True

    def _failed(self, trial: bool) -> None:
        self._failures += 1
        if trial or (self._failures >= self._limit and self._open_until is None):
            self._open_until = self._clock() + self._pause
