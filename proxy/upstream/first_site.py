"""Another Waystation that a mirror follows: its feed of changes is read, uploads are passed on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from proxy.errors import UnreadablePage, UpstreamError
from proxy.upstream.client_tls import tls_context
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.transport import Transport
from proxy.upstream.transport_errors import as_upstream_error, status_error
from proxy.upstream.upstream_options import Timeouts, UpstreamOptions

LONGEST_WAIT = 25.0
"""Seconds that a request waits for the next change, at most."""
MAX_FEED = 16 * 2**20
"""Bytes of an answer, which has at most a thousand changes."""
_FEED_HEADERS = {"Accept": "application/x-ndjson", "Accept-Encoding": "identity"}


class FeedChange(msgspec.Struct, frozen=True):
    """Only what is used of a change. The text is untrusted."""

    number: int
    action: str
    project: str
    filename: str = ""
    sha256: str = ""


class ChangeFeed:
    """The published files and changes there."""

    def __init__(self, name: str, index: str, transport: Transport, timeouts: Timeouts) -> None:
        """``name``: of the mirror here. ``index``: the address of the index there, which ends in
        ``/simple/``. ``timeouts``: those of the transport."""
        self._name = name
        self._url = f"{index.removesuffix('simple/')}-/changes"
        self._transport = transport
        self._wait = min(LONGEST_WAIT, 0.6 * timeouts.page, 0.6 * timeouts.read)

    async def after(self, number: int, *, wait: bool) -> list[FeedChange]:
        """The changes after that number, the oldest first, at most a thousand.

        ``wait``: if there is none, until there is one, for some seconds. Raises ``UpstreamError``.
        """
        url = f"{self._url}?since={number}&wait={self._wait if wait else 0:g}"
        answer, data = await self._transport.fetch(
            url, _FEED_HEADERS, limit=MAX_FEED, named_hosts_only=True
        )
        if answer.status == 404:
            raise UpstreamError(self._name, "it has no feed of changes: does it take uploads?")
        if answer.status != 200:
            raise status_error(self._name, answer.status)
        try:
            return [msgspec.json.decode(line, type=FeedChange) for line in data.splitlines()]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise UnreadablePage(self._name, "its feed of changes is unreadable") from None


PASSED_ON = ("Authorization", "Content-Type", "Content-Length", "Accept", "User-Agent")
"""Headers of the client's request, with its credentials."""
PASSED_BACK = ("Content-Type", "WWW-Authenticate", "Retry-After")
RELAY_MARK = "Waystation-Relayed"
"""The header of a request that was passed on: it is not passed on again."""
MAX_ANSWER = 64 * 1024
ANSWER_LIMIT = 300.0
"""Seconds without a byte: the other server may check a large file before it answers."""


class RelayedAnswer(msgspec.Struct, frozen=True):
    status: int
    phrase: str
    headers: Mapping[str, str]
    body: bytes
    """Its beginning."""


class UploadRelay:
    """Passes uploads on as they arrive, and answers back. To one address: redirects are errors."""

    def __init__(self, name: str, url: str, options: UpstreamOptions) -> None:
        """``name``: of the index. ``url``: where the other server takes uploads. Of ``options``,
        proxies, certificates and the connect timeout are used: credentials come with each request.
        Raises ``ConfigurationError``."""
        self._name = name
        self._url = url
        self._connect_timeout = options.timeouts.connect
        self._tls = tls_context(options.ca_bundle, options.client_certificate, options.client_key)
        self._outgoing = OutgoingProxies(options.proxies)

    async def send(self, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> RelayedAnswer:
        """The answer to a request of a client. ``body`` is sent as it arrives, and never kept.

        Raises ``UpstreamError``; then it is not known whether the upload has been published.
        """
        passed = {name: headers[name] for name in PASSED_ON if name in headers} | {RELAY_MARK: "1"}
        timeout = ClientTimeout(
            total=None, sock_connect=self._connect_timeout, sock_read=ANSWER_LIMIT
        )
        try:
            async with (
                ClientSession(
                    connector=TCPConnector(ssl=self._tls, force_close=True),
                    timeout=timeout,
                    cookie_jar=DummyCookieJar(),
                    trust_env=False,
                ) as session,
                session.post(
                    self._url,
                    data=body,
                    headers=passed,
                    allow_redirects=False,
                    proxy=self._outgoing.proxy_for(self._url),
                ) as response,
            ):
                answer = await response.content.read(MAX_ANSWER)
        except (ClientError, TimeoutError, OSError) as error:
            raise as_upstream_error(self._name, error)[0] from None
        if 300 <= response.status < 400:
            raise UpstreamError(self._name, f"it answered {response.status}, a redirect")
        kept = {name: response.headers[name] for name in PASSED_BACK if name in response.headers}
        return RelayedAnswer(response.status, response.reason or "", kept, answer)
