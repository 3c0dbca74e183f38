"""Passes uploads on to another server as they arrive, and its answers back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import msgspec
from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from proxy.errors import UpstreamError
from proxy.upstream.connections import tls_context
from proxy.upstream.outgoing_proxies import OutgoingProxies
from proxy.upstream.transport_errors import as_upstream_error

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
    """To one address: redirects are errors."""

    def __init__(
        self,
        name: str,
        url: str,
        *,
        connect_timeout: float,
        ca_bundle: Path | None = None,
        client_certificate: Path | None = None,
        client_key: Path | None = None,
        proxies: Mapping[str, str] | None = None,
    ) -> None:
        """``name``: of the index. ``url``: where the other server takes uploads. Raises
        ``ConfigurationError``."""
        self._name = name
        self._url = url
        self._connect_timeout = connect_timeout
        self._tls = tls_context(ca_bundle, client_certificate, client_key)
        self._outgoing = OutgoingProxies(proxies or {})

    async def send(self, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> RelayedAnswer:
        """The answer to a request of a client. ``body`` is sent as it arrives, and never held.

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
