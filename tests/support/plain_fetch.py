"""How a download asks a real server for a file, without the rules of the proxy's own client."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp

from proxy.errors import UpstreamError
from proxy.upstream.answers import Body, Fetch


def fetch(session: aiohttp.ClientSession, url: str) -> Fetch:
    """The session has to leave bodies as they are: ``auto_decompress=False``."""

    @asynccontextmanager
    async def ask(start: int, etag: str | None) -> AsyncIterator[Body]:
        headers = {"Accept-Encoding": "identity"}
        if start:
            headers |= {"Range": f"bytes={start}-", "If-Range": etag or ""}
        try:
            async with session.get(url, headers=headers) as response:
                response.raise_for_status()
                yield _body(response)
        except aiohttp.ClientError as error:
            raise UpstreamError("test", type(error).__name__) from error

    return ask


def _body(response: aiohttp.ClientResponse) -> Body:
    etag = response.headers.get("ETag")
    total, start = response.content_length, 0
    if response.status == 206:
        span, _, whole = response.headers["Content-Range"].removeprefix("bytes ").partition("/")
        total, start = int(whole), int(span.partition("-")[0])
    return Body(
        _chunks(response),
        total=total,
        start=start,
        etag=etag if etag and etag.startswith('"') else None,
        encoding=response.headers.get("Content-Encoding"),
    )


async def _chunks(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    try:
        async for chunk in response.content.iter_any():
            yield chunk
    except aiohttp.ClientError as error:
        raise UpstreamError("test", type(error).__name__) from error
