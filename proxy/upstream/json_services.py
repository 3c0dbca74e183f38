"""JSON services beside the Simple API: documents that are fetched, questions that are posted."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

from aiohttp import ClientError, ClientSession, ClientTimeout, DummyCookieJar, TCPConnector
from aiohttp.abc import AbstractResolver

from proxy import __version__
from proxy.errors import UpstreamError, reason
from proxy.upstream.client_tls import tls_context
from proxy.upstream.credentials import mask
from proxy.upstream.headers import delta_seconds, directives


class JsonSession:
    """A client session for JSON, opened when it is first used."""

    def __init__(
        self,
        connections: int,
        timeout: float,
        ca_bundle: Path | None,
        resolver: AbstractResolver | None = None,
    ) -> None:
        """``timeout``: seconds of a request with its answer."""
        self._connections = connections
        self._timeout = ClientTimeout(total=timeout)
        self._ca_bundle = ca_bundle
        self._resolver = resolver
        self._session: ClientSession | None = None

    def opened(self) -> ClientSession:
        if self._session is None:
            self._session = ClientSession(
                connector=TCPConnector(
                    limit=self._connections,
                    ssl=tls_context(self._ca_bundle, None, None),
                    resolver=self._resolver,
                ),
                headers={"User-Agent": f"waystation/{__version__}", "Accept": "application/json"},
                cookie_jar=DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,
            )
        return self._session

    async def close(self) -> None:
        if self._session:
            await self._session.close()
            await asyncio.sleep(0)  # connections close in the next turn


MAX_DOCUMENT = 1024 * 1024
"""Bytes."""
FEW_CONNECTIONS = 4


class DocumentFetcher:
    """Redirects are errors, and no proxy is used: the address is the one that was named."""

    def __init__(self, name: str, *, timeout: float = 10.0, ca_bundle: Path | None = None) -> None:
        """``name`` is for messages; ``timeout``: seconds of a request with its answer."""
        self._name = name
        self._session = JsonSession(FEW_CONNECTIONS, timeout, ca_bundle)

    async def fetch(self, url: str) -> tuple[bytes, float | None]:
        """The document, and the seconds for which it is fresh, if the answer says so.

        Raises ``UpstreamError``.
        """
        if not url.startswith("https://"):
            raise UpstreamError(self._name, "its address is not https")
        body = b""
        try:
            async with self._session.opened().get(url, allow_redirects=False) as response:
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
        await self._session.close()


MAX_ANSWER = 256 * 1024
"""Bytes of an answer."""
PARALLEL = 16
"""Requests at a time."""


class Poster:
    """Requests go to this address and nowhere else: redirects are errors, proxies are not used."""

    def __init__(
        self, name: str, url: str, *, timeout: float, ca_bundle: Path | None = None
    ) -> None:
        """``name`` is for messages; ``timeout``: seconds of a request with its answer."""
        self._name = name
        self._url = url
        self._session = JsonSession(PARALLEL, timeout, ca_bundle)

    async def post(self, body: bytes, headers: Mapping[str, str]) -> bytes:
        """The answer to a JSON document. Raises ``UpstreamError``."""
        try:
            async with self._session.opened().post(
                self._url,
                data=body,
                headers={"Content-Type": "application/json", **headers},
                allow_redirects=False,
            ) as response:
                answer = await response.content.read(MAX_ANSWER + 1)
                while len(answer) <= MAX_ANSWER and (more := await response.content.readany()):
                    answer += more
                status = response.status
        except TimeoutError:
            raise UpstreamError(self._name, "no answer in time") from None
        except (ClientError, OSError, ValueError) as error:
            raise UpstreamError(self._name, reason(error)) from None
        if status != 200 or len(answer) > MAX_ANSWER:
            problem = f"it answered {status}" if status != 200 else "its answer is too large"
            raise UpstreamError(self._name, problem)
        return answer

    async def close(self) -> None:
        await self._session.close()

    def __str__(self) -> str:
        return mask(self._url)
