"""Downloads from a real server into a real store, with nothing around them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pytest

from proxy.errors import ProxyError, UpstreamError
from proxy.storage.disk_store import DiskStore
from proxy.upstream.downloads import Body, Download, Downloads, Expected, Fetch
from tests.support.content import sha256
from tests.support.plain_fetch import fetch
from tests.support.stored import stored_keys
from tests.support.upstream import Fault, Upstream

GIB = 2**30


class DownloadRig:
    """``name`` is the file's path on the server, its key among downloads, and what errors say."""

    def __init__(self, root: Path, upstream: Upstream, session: aiohttp.ClientSession) -> None:
        self.root = root
        self.upstream = upstream
        self.session = session
        self.spool = root / "spool"
        self.store = DiskStore(root / "blob")
        self.done: list[tuple[str, int]] = []
        self.downloads = self.make()

    def make(self, **options: Any) -> Downloads:
        return Downloads(self.store, self.spool, **{"backoff": 0.01} | options)

    def serve(self, content: bytes, *faults: Fault, name: str = "x-1.0.tar.gz") -> None:
        """Each fault counts for one request; an endless one comes with ``upstream.fault``."""
        self.upstream.shelf.contents[name] = content
        for fault in faults:
            self.upstream.fault(name, fault, times=1)

    def expected(
        self,
        content: bytes | None = None,
        *,
        name: str = "x-1.0.tar.gz",
        size: int | None = None,
        limit: int = GIB,
        **hashes: str,
    ) -> Expected:
        named = hashes if content is None else {"sha256": sha256(content), **hashes}
        return Expected("test", name, named, size, limit)

    def fetch(self, name: str = "x-1.0.tar.gz") -> Fetch:
        return fetch(self.session, self.upstream.files_url + name)

    def start(
        self, content: bytes | None = None, *, fetch: Fetch | None = None, **expected: Any
    ) -> Download:
        wanted = self.expected(content, **expected)
        return self.downloads.start(
            wanted.what, wanted, fetch or self.fetch(wanted.what), self._done
        )

    async def all_ended(self) -> None:
        """Until no download is under way."""
        await asyncio.wait_for(self.downloads.close(60), 90)

    def spooled(self) -> list[Path]:
        return list(self.spool.iterdir()) if self.spool.exists() else []

    def stored(self) -> list[str]:
        return list(stored_keys(self.store.root))

    async def _done(self, key: str, size: int) -> None:
        self.done.append((key, size))


@asynccontextmanager
async def open_rig(root: Path) -> AsyncIterator[DownloadRig]:
    async with Upstream() as upstream, aiohttp.ClientSession(auto_decompress=False) as session:
        made = DownloadRig(root, upstream, session)
        try:
            yield made
        finally:
            await made.downloads.close(0)


class Script:
    """A fetch that gives one answer after the other, and remembers what it was asked."""

    def __init__(self, *answers: UpstreamStep) -> None:
        self._answers = list(answers)
        self.asked: list[tuple[int, str | None]] = []

    @asynccontextmanager
    async def __call__(self, start: int, etag: str | None) -> AsyncIterator[Body]:
        self.asked.append((start, etag))
        answer = self._answers.pop(0)
        yield Body(
            answer.chunks(),
            total=answer.total,
            start=answer.start,
            stop=answer.stop,
            etag=answer.etag,
            encoding=answer.encoding,
        )


class UpstreamStep(NamedTuple):
    data: bytes
    total: int | None
    start: int = 0
    etag: str | None = '"a"'
    encoding: str | None = None
    breaks: bool = False
    stop: int | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self.data), 100_000):
            yield self.data[at : at + 100_000]
        if self.breaks:
            raise UpstreamError("test", "broke off")


async def received(chunks: AsyncIterator[bytes], error: type[ProxyError]) -> bytes:
    """What a reader had when its download failed."""
    got = []
    with pytest.raises(error):
        async for piece in chunks:
            got.append(piece)
    return b"".join(got)
