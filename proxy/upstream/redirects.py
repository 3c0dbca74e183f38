"""Sends one request to an upstream and follows redirects; each target has to pass all rules.

A circuit breaker stops requests to an upstream that cannot be reached, so that clients do not
queue for time-outs. ``transport`` retries; ``remote`` knows what is requested and what answers
mean.
"""

from __future__ import annotations

import asyncio
import logging
import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from string import punctuation
from types import SimpleNamespace
from urllib.parse import quote_from_bytes, urljoin

import msgspec
from aiohttp import ClientConnectorError, ClientResponse, ClientSession, ClientTimeout, TraceConfig
from yarl import URL

from proxy.upstream.address_rules import Addresses, AddressRefused, Origin
from proxy.upstream.answer_body import BodyChunks
from proxy.upstream.credentials import mask, without_userinfo
from proxy.upstream.headers import Headers, content_range, printable_headers, retry_after
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.traffic import BreakerOpen
from proxy.upstream.transport_errors import (
    TEMPORARY_STATUSES,
    TRANSPORT_ERRORS,
    RedirectRefused,
    RetryableStatus,
)
from proxy.upstream.upstream_options import Timeouts, UpstreamOptions

MAX_REDIRECTS = 30
"""Redirects that are followed: as many as pip follows."""
_REDIRECT_STATUSES = frozenset({301, 302, 303, 307, 308})
_URL_SCHEME = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)
_MAX_DRAINED = 64 * 2**10

log = logging.getLogger(__name__)


class UpstreamAnswer(msgspec.Struct, frozen=True):
    status: int
    headers: Headers
    url: str
    """The address after redirects."""
    phrase: str = ""
    """The reason phrase."""


class Redirects:
    """Sends requests with given headers and credentials, and nothing from a client's request."""

    def __init__(
        self,
        name: str,
        session: ClientSession,
        addresses: Addresses,
        outgoing: OutgoingProxies,
        options: UpstreamOptions,
        clock: Callable[[], float],
    ) -> None:
        self._name = name
        self._session = session
        self._addresses = addresses
        self._outgoing = outgoing
        self._credentials = options.credentials
        self._timeouts = options.timeouts
        self._head_limit = options.timeouts.head
        self._clock = clock
        self.breaker = Breaker(name, clock=clock, limit=options.breaker_limit)

    async def follow(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        deadline: float | None,
        named_hosts_only: bool,
    ) -> tuple[UpstreamAnswer, ClientResponse]:
        """The first answer that is no redirect; the caller closes or reads the response.

        ``deadline`` in the loop's time. ``named_hosts_only``: no request leaves the hosts that
        the settings name. Raises ``UpstreamError``, and what ``TRANSPORT_ERRORS`` lists.
        """
        seen: set[str] = set()
        while len(seen) <= MAX_REDIRECTS:
            bare = without_userinfo(url) if "@" in url else url
            url = _quoted(bare.partition("#")[0])
            if url in seen:
                raise RedirectRefused(self._name, "redirects in a circle")
            seen.add(url)
            own = self._check(url, named_hosts_only).host == self._addresses.index.host
            with self.breaker.attempt() if own else nullcontext():
                response = await self._request(method, url, headers, deadline)
            if response.status in TEMPORARY_STATUSES:
                async with response:
                    await drain(response)
                wait = retry_after(response.headers, self._clock())
                raise RetryableStatus(response.status, wait)
            target = response.headers.get("Location")
            if response.status not in _REDIRECT_STATUSES or target is None:
                status = _effective_status(response, headers, is_page=named_hosts_only)
                headers = printable_headers(response.headers)
                return UpstreamAnswer(status, headers, url, response.reason or ""), response
            async with response:
                await drain(response)
            url = self._target(url, target)
        raise RedirectRefused(self._name, f"redirects more than {MAX_REDIRECTS} times")

    def _target(self, url: str, target: str) -> str:
        """The target of a redirect; the spelling of an absolute address is kept."""
        try:
            following = target if _URL_SCHEME.match(target) else urljoin(url, target)
        except ValueError:  # such as //[
            raise RedirectRefused(self._name, "redirects to what is no address") from None
        if url.lower().startswith("https:") and not following.lower().startswith("https:"):
            raise RedirectRefused(self._name, "redirects from https to another scheme")
        return following

    def _check(self, url: str, named_hosts_only: bool) -> Origin:
        try:
            return self._addresses.check(url, named_hosts_only=named_hosts_only)
        except AddressRefused as refusal:
            log.warning("upstream %s: refused %r: it %s", self._name, mask(url), refusal)
            raise

    async def _request(
        self, method: str, url: str, headers: Mapping[str, str], deadline: float | None
    ) -> ClientResponse:
        """Send one request and wait for the headers. Raises what ``TRANSPORT_ERRORS`` lists."""
        async with asyncio.timeout(self._head_limit) as head:
            return await self._session.request(
                method,
                URL(url, encoded=True),  # signed queries and odd spellings have to stay
                headers={**headers, **self._authorization(url)},
                allow_redirects=False,
                timeout=self._timeout(deadline),
                proxy=self._outgoing.proxy_for(url) if self._outgoing.hosts else None,
                trace_request_ctx=head,
            )

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
    """The status as pip and uv understand it: 200 if the whole body follows.

    That is any success, and for a page also a redirect without a target: the body is read.
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
    """Stops the timeout for a head while the request waits for a free connection."""
    limit = timeouts.head

    async def queued(session: ClientSession, context: SimpleNamespace, _: object) -> None:
        context.trace_request_ctx.reschedule(None)

    async def started(session: ClientSession, context: SimpleNamespace, _: object) -> None:
        now = asyncio.get_running_loop().time()
        context.trace_request_ctx.reschedule(now + limit)

    config = TraceConfig()
    config.on_connection_queued_start.append(queued)
    config.on_connection_queued_end.append(started)
    return config


def _quoted(url: str) -> str:
    """The address in ASCII; surrogates become the bytes outside UTF-8 that they came from."""
    return quote_from_bytes(url.encode("utf-8", "surrogateescape"), safe=punctuation)


async def drain(response: ClientResponse) -> None:
    """Read a short rest, so that the connection can be reused; a long one is not worth it."""
    left = _MAX_DRAINED
    with suppress(*TRANSPORT_ERRORS):
        async with asyncio.timeout(1):
            async for chunk in BodyChunks(response, 1):
                left -= len(chunk)
                if left < 0:
                    return


class Breaker:
    """Opens after ``limit`` failed connections in a row; then one attempt each ``pause`` seconds.

    Any answer counts as success, also an error status. So does a connection that breaks later:
    one file that upstream cannot send must not stop all others.
    """

    def __init__(
        self, index: str, *, clock: Callable[[], float], limit: int = 5, pause: float = 15.0
    ) -> None:
        self.index = index
        self._clock = clock
        self._limit = limit
        self._pause = pause
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def is_open(self) -> bool:
        """Whether requests are refused now, or only one is tried."""
        return self._open_until is not None

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Encloses one request until its headers. Raises ``BreakerOpen`` while open."""
        trial = self._admit()
        try:
            yield
        except (ClientConnectorError, TimeoutError):
            self._count_failure(trial)
            raise
        finally:
            if trial:  # also if it was cancelled, which proves nothing: the next attempt probes
                self._probing = False
        self._failures, self._open_until = 0, None

    def _admit(self) -> bool:
        """Whether this is the one attempt after a pause."""
        if self._open_until is None:
            return False
        left = self._open_until - self._clock()
        if left > 0 or self._probing:
            seconds = max(1, math.ceil(left))
            raise BreakerOpen(self.index, "cannot be reached", retry_after=seconds)
        self._probing = True
        return True

    def _count_failure(self, trial: bool) -> None:
        self._failures += 1
        if trial or (self._failures >= self._limit and self._open_until is None):
            self._open_until = self._clock() + self._pause
