"""Fetches small JSON documents over HTTPS, such as the keys of an issuer."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector

from proxy import __version__
from proxy.errors import UpstreamError, reason
from proxy.upstream.connections import tls_context
from proxy.upstream.headers import delta_seconds, directives

MAX_DOCUMENT = 1024 * 1024
"""Bytes."""
FEW_CONNECTIONS = 4


class DocumentFetcher:
    """Redirects are errors, and no proxy is used: the address is the one that was named."""

    def __init__(self, name: str, *, timeout: float = 10.0, ca_bundle: Path | None = None) -> None:
        """``name`` is for messages; ``timeout``: seconds of a request with its answer."""
        self._name = name
        self._timeout = ClientTimeout(total=timeout)
        self._ca_bundle = ca_bundle
        self._session: ClientSession | None = None

    async def fetch(self, url: str) -> tuple[bytes, float | None]:
        """The document, and the seconds for which it is fresh, if the answer says so.

        Raises ``UpstreamError``.
        """
        if not url.startswith("https://"):
            raise UpstreamError(self._name, "its address is not https")
        body = b""
        try:
            async with self._opened().get(url, allow_redirects=False) as response:
                if response.status != 200:
                    raise UpstreamError(self._name, f"it answered {response.status}")
                async for piece in response.content.iter_any():
                    body += piece
                    if len(body) > MAX_DOCUMENT:
                        raise UpstreamError(self._name, "its answer is too large")
                wanted = directives(response.headers.getall("Cache-Control", []))
        except TimeoutError:
            raise UpstreamError(self._name, "no answer in time") from None
        except (ClientError, OSError, ValueError) as error:
            raise UpstreamError(self._name, reason(error)) from None
        return body, delta_seconds(wanted.get("max-age"))

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            await asyncio.sleep(0)  # connections close in the next turn

    def _opened(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(
                    limit=FEW_CONNECTIONS, ssl=tls_context(self._ca_bundle, None, None)
                ),
                headers={"User-Agent": f"waystation/{__version__}", "Accept": "application/json"},
                cookie_jar=DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,
            )
        return self._session
