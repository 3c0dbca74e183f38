"""Sends files to an index by the legacy upload API."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from io import BufferedReader, FileIO
from pathlib import Path

import aiohttp
import msgspec

from proxy import __version__
from proxy.errors import UpstreamError
from proxy.upstream.client_tls import tls_context
from proxy.upstream.credentials import Credentials, mask
from proxy.upstream.headers import delta_seconds
from proxy.upstream.transport_errors import TEMPORARY_STATUSES, as_upstream_error

_MAX_ANSWER = 64 * 1024
_MAX_WAIT = 60.0
"""Seconds of a pause before a retry, also if the server asks for more."""
_ANSWER_LIMIT = 300.0
"""Seconds without a byte from the server: it may check a large file before it answers."""


@dataclass(frozen=True, slots=True)
class OutgoingUpload:
    """One file with its form."""

    path: Path
    fields: tuple[tuple[str, str], ...]
    """Names and values of the form's texts; a name may occur several times."""
    beside: dict[str, bytes] = field(default_factory=dict)
    """Further files of the form by field, such as ``gpg_signature``."""


class UploadAnswer(msgspec.Struct, frozen=True):
    status: int
    text: str
    """The reason phrase and the beginning of the body."""


class UploadClient:
    """Uploads go to this address and nowhere else: redirects are errors."""

    def __init__(
        self,
        url: str,
        credentials: Credentials | None,
        *,
        retries: int = 3,
        ca_bundle: Path | None = None,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``ca_bundle`` (PEM) is trusted in addition to the system's authorities."""
        self._url = url
        self._headers = credentials.headers_for(url) if credentials else {}
        self._retries = retries
        self._ca_bundle = ca_bundle
        self._sleep = sleep

    async def send(
        self, upload: OutgoingUpload, sent: Callable[[int], None] = lambda size: None
    ) -> UploadAnswer:
        """The answer, after retries; ``sent`` gets the number of bytes read of the file so far,
        from a thread. Raises ``UpstreamError`` and, if the file cannot be read, ``OSError``.
        """
        for attempt in range(self._retries + 1):
            last = attempt == self._retries
            pause = min(_MAX_WAIT, 2.0**attempt * (0.5 + random.random()))  # noqa: S311
            try:
                answer, asked = await self._once(upload, sent)
            except (aiohttp.ClientError, TimeoutError, ConnectionError) as cause:
                error, retryable = as_upstream_error(mask(self._url), cause)
                if last or not (retryable or isinstance(cause, TimeoutError)):
                    raise error from None
            else:
                if last or answer.status not in TEMPORARY_STATUSES:
                    return answer
                pause = pause if asked is None else min(_MAX_WAIT, asked)
            await self._sleep(pause)
        raise AssertionError

    async def _once(
        self, upload: OutgoingUpload, sent: Callable[[int], None]
    ) -> tuple[UploadAnswer, float | None]:
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=30, sock_read=_ANSWER_LIMIT)
        connector = aiohttp.TCPConnector(ssl=tls_context(self._ca_bundle, None, None))
        with _CountingReader(upload.path, sent) as file:
            async with aiohttp.ClientSession(
                connector=connector,
                headers={"User-Agent": f"waystation/{__version__}", **self._headers},
                timeout=timeout,
                trust_env=False,
            ) as session:
                form = _form(upload.fields, upload.beside.items(), upload.path.name, file)
                async with session.post(self._url, data=form, allow_redirects=False) as response:
                    body = await response.content.read(_MAX_ANSWER)
                    asked = delta_seconds(response.headers.get("Retry-After"))
                    phrase = response.reason or ""
        text = body.decode("utf-8", "replace").strip()
        return UploadAnswer(response.status, f"{phrase}\n{text}".strip()), asked

    def __str__(self) -> str:
        return mask(self._url)


class _CountingReader(BufferedReader):
    """A file that reports how much of it was read."""

    def __init__(self, path: Path, sent: Callable[[int], None]) -> None:
        super().__init__(FileIO(path))
        self._sent = sent

    def read(self, size: int | None = -1, /) -> bytes:
        data = super().read(size)
        self._sent(self.tell())
        return data


def _form(
    fields: Iterable[tuple[str, str]],
    beside: Iterable[tuple[str, bytes]],
    filename: str,
    file: BufferedReader,
) -> aiohttp.FormData:
    form = aiohttp.FormData(default_to_multipart=True)
    for name, value in fields:
        form.add_field(name, value)
    for name, data in beside:
        form.add_field(name, data, filename=f"{filename}.asc", content_type="text/plain")
    form.add_field("content", file, filename=filename, content_type="application/octet-stream")
    return form


def check_upload_url(url: str) -> None:
    """Raises ``UpstreamError`` unless it is an address of HTTP."""
    if not url.startswith(("https://", "http://")):
        raise UpstreamError(mask(url), "is not an address that begins with https:// or http://")
