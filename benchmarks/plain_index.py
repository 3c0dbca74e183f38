"""An ordinary package index: aiohttp's server on asyncio's loop, with the wheels of a folder.

A process of its own, the upstream of the real set. Unlike the fake upstream it costs what such
a server costs. ``/-/counts``, ``/-/asked`` and ``/-/pace`` are those of the fake upstream.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from aiohttp import web
from aiohttp.typedefs import Handler

from benchmarks.fake_content import HTML, JSON, FakeContent
from benchmarks.processes import free_port, running
from benchmarks.servers import SOURCE, FakeUpstream

NAME = "plain index"
BEAT = 0.01
"""Seconds between the pieces of a stream with limited bandwidth."""


@contextlib.contextmanager
def plain_index(folder: Path, wheels: Path, cores: Sequence[int]) -> Iterator[FakeUpstream]:
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.plain_index", str(port), str(wheels)]
    environment = {"PYTHONPATH": str(SOURCE)}
    with running(
        NAME,
        command,
        port=port,
        folder=folder,
        environment=environment,
        ready="/-/counts",
        cores=cores,
    ) as server:
        yield FakeUpstream(server)


class Index:
    """Handlers of the index and its settings and counts."""

    def __init__(self, wheels: Path, content: FakeContent) -> None:
        self._wheels = wheels
        self._content = content
        self._counts: Counter[str] = Counter(requests=0)
        self._asked: Counter[str] = Counter()
        self._latency = self._rate = 0.0

    def app(self) -> web.Application:
        app = web.Application()
        app.router.add_get("/simple/{project}/", self._page)
        app.router.add_get("/files/{path:.+}", self._file)
        app.router.add_get("/-/pace", self._pace)
        app.router.add_get("/-/counts", self._show(self._counts))
        app.router.add_get("/-/asked", self._show(self._asked))
        return app

    async def _delay(self) -> None:
        """Count a request, and delay its answer by the latency."""
        self._counts["requests"] += 1
        if self._latency:
            await asyncio.sleep(self._latency)

    async def _page(self, request: web.Request) -> web.StreamResponse:
        await self._delay()
        media = JSON if JSON in request.headers.get("Accept", "") else HTML
        body = self._content.page(request.match_info["project"], media, zipped=False)
        if body is None:
            raise web.HTTPNotFound
        headers = {"ETag": f'"{body.etag}"', "Vary": "Accept", "Cache-Control": "max-age=600"}
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = media
        return web.Response(body=b"".join(body.parts), headers=headers)

    async def _file(self, request: web.Request) -> web.StreamResponse:
        await self._delay()
        filename = request.match_info["path"].rpartition("/")[2]
        self._asked[filename.removesuffix(".metadata")] += 1
        if not filename.endswith(".metadata") and not self._rate:
            return web.FileResponse(self._wheels / filename)
        body = self._content.file(filename)
        if body is None:
            raise web.HTTPNotFound
        if not self._rate:
            return web.Response(body=b"".join(body.parts))
        return await self._stream(request, b"".join(body.parts))

    async def _stream(self, request: web.Request, body: bytes) -> web.StreamResponse:
        """Send the body no faster than the set rate."""
        response = web.StreamResponse(headers={"Content-Type": "application/octet-stream"})
        response.content_length = len(body)
        await response.prepare(request)
        loop = asyncio.get_running_loop()
        began, piece = loop.time(), max(int(self._rate * BEAT), 1024)
        for start in range(0, len(body), piece):
            await asyncio.sleep(began + start / self._rate - loop.time())
            await response.write(body[start : start + piece])
        return response

    async def _pace(self, request: web.Request) -> web.StreamResponse:
        self._latency, self._rate = (float(request.query[name]) for name in ("latency", "rate"))
        return web.Response()

    @staticmethod
    def _show(counts: Counter[str]) -> Handler:
        async def show(request: web.Request) -> web.StreamResponse:
            return web.json_response(counts)

        return show


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("wheels", type=Path)
    options = parser.parse_args()
    content = FakeContent(f"http://127.0.0.1:{options.port}/files/", options.wheels)
    index = Index(options.wheels, content)
    web.run_app(index.app(), host="127.0.0.1", port=options.port, access_log=None, print=None)
