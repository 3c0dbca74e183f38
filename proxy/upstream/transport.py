"""Requests to one upstream: retries, reading of answers, a count of running requests, a probe.

``redirects`` decides about targets and about credentials; ``connections`` opens
connections.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from http import HTTPStatus
from typing import TypeVar

from aiohttp import ClientResponse

from proxy.errors import UpstreamError
from proxy.upstream.address_rules import Addresses
from proxy.upstream.answer_body import BodyChunks
from proxy.upstream.credentials import mask
from proxy.upstream.redirects import Redirects, UpstreamAnswer, drain
from proxy.upstream.traffic import InFlight, Requested
from proxy.upstream.transport_errors import TRANSPORT_ERRORS, as_upstream_error
from proxy.upstream.upstream_options import UpstreamOptions

__all__ = ["Transport", "UpstreamAnswer"]

T = TypeVar("T")

PAGE_ACCEPT = (
    "application/vnd.pypi.simple.v1+json,"
    " application/vnd.pypi.simple.v1+html;q=0.2, text/html;q=0.1"
)
"""The header ``Accept`` of requests for pages (PEP 691)."""
MAX_RETRY_WAIT = 5
"""Seconds; a request is not retried if upstream asks for a longer pause."""
_AUTHENTICATION_STATUSES = {401, 403, 407}


@contextmanager
def _with_address(url: str) -> Iterator[None]:
    """Give errors the address of the request, for the log."""
    try:
        yield
    except UpstreamError as error:
        error.address = error.address or mask(url)
        raise


class Transport:
    """Sends requests to one upstream, with retries; ``open_transport`` makes one."""

    def __init__(
        self,
        name: str,
        redirects: Redirects,
        addresses: Addresses,
        options: UpstreamOptions,
        in_flight: InFlight,
        sleep: Callable[[float], Awaitable[object]],
    ) -> None:
        """``in_flight`` counts the requests."""
        self.credentials = options.credentials
        self._name = name
        self._redirects = redirects
        self._addresses = addresses
        self._page_timeout = options.timeouts.page
        self._read_timeout = options.timeouts.read
        self._retries = options.retries
        self._sleep = sleep
        self._in_flight = in_flight

    def allows(self, origin: str) -> bool:
        """Whether links to ``scheme://host[:port]`` may be fetched."""
        return self._addresses.allows(origin)

    async def fetch(
        self,
        url: str,
        headers: Mapping[str, str],
        *,
        limit: int,
        method: str = "GET",
        named_hosts_only: bool = False,
    ) -> tuple[UpstreamAnswer, bytes]:
        """A small answer as a whole; without a body if its status is not 200.

        ``limit`` in bytes. ``named_hosts_only``: not even a redirect leaves the hosts that the
        settings name. Raises ``UpstreamError``.
        """
        deadline = asyncio.get_running_loop().time() + self._page_timeout

        async def once() -> tuple[UpstreamAnswer, bytes]:
            answer, response = await self._redirects.follow(
                method, url, headers, deadline, named_hosts_only
            )
            if answer.status == 200:
                return answer, await self._whole(response, limit)
            async with response:
                await drain(response)
                return answer, b""

        what: Requested = "page" if named_hosts_only else "file"
        with self._in_flight.request(self._name, what), _with_address(url):
            return await self._with_retries(once, deadline)

    @asynccontextmanager
    async def stream(
        self, url: str, headers: Mapping[str, str]
    ) -> AsyncIterator[tuple[UpstreamAnswer, AsyncIterator[bytes]]]:
        """An answer and its bytes as they arrive. Both raise ``UpstreamError``."""

        async def once() -> tuple[UpstreamAnswer, ClientResponse]:
            return await self._redirects.follow("GET", url, headers, None, named_hosts_only=False)

        with self._in_flight.request(self._name, "file") as answered, _with_address(url):
            answer, response = await self._with_retries(once, None)
            answered()
            async with response:
                yield answer, self._chunks(response)

    async def _chunks(self, response: ClientResponse) -> AsyncIterator[bytes]:
        try:
            async for chunk in BodyChunks(response, self._read_timeout):
                yield chunk
        except TRANSPORT_ERRORS as error:
            raise as_upstream_error(self._name, error)[0] from None

    async def _whole(self, response: ClientResponse, limit: int) -> bytes:
        """The whole body; at its end the connection is free without being released."""
        parts, left = [], limit
        try:
            async for chunk in BodyChunks(response, self._read_timeout):
                parts.append(chunk)
                left -= len(chunk)
                if left < 0:
                    raise UpstreamError(self._name, f"the answer is larger than {limit} bytes")
        except BaseException:
            response.close()
            raise
        return b"".join(parts)

    async def _with_retries(self, once: Callable[[], Awaitable[T]], deadline: float | None) -> T:
        """The result of ``once``, after retries if necessary; all within the deadline."""
        for tries in range(1, self._retries + 2):
            try:
                return await once()
            except TRANSPORT_ERRORS as cause:
                error, retryable = as_upstream_error(self._name, cause)
            pause = self._pause(tries, error.retry_after)
            late = deadline is not None and asyncio.get_running_loop().time() + pause > deadline
            if not retryable or late or pause > MAX_RETRY_WAIT or tries > self._retries:
                break
            await self._sleep(pause)
        raise error

    def _pause(self, tries: int, asked: int | None) -> float:
        """Seconds before the next attempt; ``asked``: those that upstream asks for."""
        if asked is not None:
            return asked
        return 0.2 * 2.0**tries * random.uniform(0.5, 1.5)  # noqa: S311 (spreads load, no secret)


async def probe(transport: Transport, url: str) -> str | None:
    """The fault that the index at ``url`` seems to have, as a sentence for people; else None.

    ``url`` ends with a slash. Sends a HEAD request for the list of projects. If the answer is no
    such list (PEP 691) and ``url`` does not end with ``/simple/``, sends another for ``simple/``
    below it. An index need not have a list, so a 404 alone is no fault.
    """
    try:
        answer = await _head(transport, url)
    except UpstreamError as error:
        return error.reason
    if answer.status in _AUTHENTICATION_STATUSES:
        phrase = HTTPStatus(answer.status).phrase
        return f"it answered {answer.status} {phrase}; are the credentials right?"
    if _is_index(answer) or url.endswith("/simple/"):
        return None
    below = f"{url}simple/"
    try:
        found = await _head(transport, below)
    except UpstreamError:
        return None
    if found.status != 200:
        return None
    sure = _is_index(found) or answer.status != 200
    return f"there is {'' if sure else 'perhaps '}an index at {below}; is that the address?"


async def _head(transport: Transport, url: str) -> UpstreamAnswer:
    answer, _ = await transport.fetch(
        url, {"Accept": PAGE_ACCEPT}, limit=0, method="HEAD", named_hosts_only=True
    )
    return answer


def _is_index(answer: UpstreamAnswer) -> bool:
    kind = answer.headers.get("Content-Type", "").lower()
    return answer.status == 200 and kind.startswith("application/vnd.pypi.simple.")
