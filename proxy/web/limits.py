"""Limits of clients: how often, and how many at once, a client has an upstream asked or uploads.

A client is its principal, else its address (of IPv6 the /64). Each process counts by itself, in
bounded memory. Answers from the cache are never limited.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from typing import Literal

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from proxy.access import network
from proxy.events import ClientLimited, Observer
from proxy.runtime import BoundedDict
from proxy.upstream import TooManyRequests, set_permit
from proxy.web.request_state import REQUEST_STATE, RequestState

LimitedWork = Literal["misses", "uploads"]
"""Requests for which an upstream is asked, and uploads."""
MAX_CLIENTS = 20_000
"""Clients whose work is counted; further ones displace those that were seen longest ago."""
UPLOAD_PAGE = "/-/upload"
"""The page on which people publish with a browser."""
MINUTE = 60.0
"""Seconds."""
NO_UPLOADS = ("/-/", "/_/")
"""In the paths of requests that are no uploads: administration, and tokens."""


class Limit(msgspec.Struct, frozen=True):
    """Of one kind of work; None: not limited."""

    per_minute: int | None = None
    """Also how many may come at once, after a pause."""
    concurrent: int | None = None


class _Bucket(msgspec.Struct):
    """A token bucket: what is left of the minute's work."""

    left: float
    when: float
    """Of the last change, by the monotonic clock."""


class WorkLimit:
    """Counts one kind of work of all clients."""

    def __init__(
        self, limit: Limit, clock: Callable[[], float], max_clients: int = MAX_CLIENTS
    ) -> None:
        self._limit = limit
        self._clock = clock
        self._buckets: BoundedDict[str, _Bucket] = BoundedDict(max_clients)
        self._running: Counter[str] = Counter()

    def begin(self, client: str, *, runs: bool) -> None:
        """Work of a client begins. ``runs``: other work for the same request runs already.

        Raises ``TooManyRequests``; then the work does not count.
        """
        most = self._limit.concurrent
        if not runs and most is not None and self._running[client] >= most:
            raise TooManyRequests(f"more than {most} of them run", 1)
        if self._limit.per_minute is not None:
            self._take(client, self._limit.per_minute)
        if not runs:
            self._running[client] += 1

    def end(self, client: str) -> None:
        """All work for one request has ended."""
        self._running[client] -= 1
        if self._running[client] <= 0:
            del self._running[client]

    def _take(self, client: str, rate: int) -> None:
        now = self._clock()
        bucket = self._buckets.get(client)
        if bucket is None:
            bucket = self._buckets[client] = _Bucket(float(rate), now)
        passed = max(0.0, now - bucket.when)
        bucket.left = min(float(rate), bucket.left + passed * rate / MINUTE)
        bucket.when = now
        if bucket.left < 1:
            wait = math.ceil((1 - bucket.left) * MINUTE / rate)
            raise TooManyRequests(f"more than {rate} in a minute", wait)
        bucket.left -= 1


class ClientLimits:
    """The limits of a server."""

    def __init__(
        self,
        misses: Limit,
        uploads: Limit,
        exempt: Callable[[str], bool] = lambda address: False,
        events: Observer = lambda event: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``exempt``: whether an address is not limited. ``events`` gets ``ClientLimited``."""
        self._works: dict[LimitedWork, WorkLimit] = {
            "misses": WorkLimit(misses, clock),
            "uploads": WorkLimit(uploads, clock),
        }
        self._exempt = exempt
        self._events = events

    def of_request(self, request: web.Request, state: RequestState) -> RequestLimit:
        """The limits of a request, whose task runs now."""
        found = RequestLimit(self, lambda: self._client(request, state))
        set_permit(lambda: found.count("misses"))
        return found

    def begin(self, work: LimitedWork, client: str, *, runs: bool) -> None:
        """Raises ``TooManyRequests``."""
        try:
            self._works[work].begin(client, runs=runs)
        except TooManyRequests:
            self._events(ClientLimited(work))
            raise

    def end(self, work: LimitedWork, client: str) -> None:
        self._works[work].end(client)

    def _client(self, request: web.Request, state: RequestState) -> str:
        """Empty: not limited."""
        address = state.client or request.remote or ""
        if not address or self._exempt(address):
            return ""
        return state.principal.label if state.principal else network(address)


class RequestLimit:
    """The work that one request has started."""

    def __init__(self, limits: ClientLimits, client: Callable[[], str]) -> None:
        self._limits = limits
        self._client = client
        self._running: dict[LimitedWork, str] = {}
        self._ended = False

    def count(self, work: LimitedWork) -> None:
        """Raises ``TooManyRequests``. After the end nothing counts: work in the background."""
        if self._ended:
            return
        client = self._running.get(work) or self._client()
        if client:
            self._limits.begin(work, client, runs=work in self._running)
            self._running[work] = client

    def end(self) -> None:
        self._ended = True
        for work, client in self._running.items():
            self._limits.end(work, client)
        self._running.clear()


def _is_upload(path: str) -> bool:
    return path.endswith(UPLOAD_PAGE) or not any(each in path for each in NO_UPLOADS)


LIMITS: web.AppKey[ClientLimits] = web.AppKey("limits")


@web.middleware
async def limit_clients(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Runs after authentication, and before the body of a request is read."""
    limit = request.app[LIMITS].of_request(request, request[REQUEST_STATE])
    try:
        if request.method in ("POST", "PUT") and _is_upload(request.path):
            limit.count("uploads")
        return await handler(request)
    finally:
        limit.end()
