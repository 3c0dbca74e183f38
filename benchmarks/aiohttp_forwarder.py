"""The yardstick of cold installs: an aiohttp server that forwards, hashes and stores, nothing else.

It rewrites the links of pages to itself, and streams files and core metadata to the client while
it hashes them and writes them to disk. It checks, remembers and prefetches nothing, writes no log,
and syncs no file. CPU beyond that of this program is the cost of what a cache adds.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from benchmarks.processes import Server, free_port, running
from benchmarks.servers import SOURCE

FORWARDER = "aiohttp forwarder"
CONNECTIONS = 100


@contextlib.contextmanager
def aiohttp_forwarder(folder: Path, upstream: str, cores: Sequence[int]) -> Iterator[Server]:
    """It stores files below ``folder``."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.aiohttp_forwarder"]
    command += [str(port), upstream, str(folder / "store")]
    environment = {"PYTHONPATH": str(SOURCE)}
    with running(
        FORWARDER,
        command,
        port=port,
        folder=folder,
        environment=environment,
        ready="/-/ready",
        cores=cores,
    ) as server:
        yield server


class Forwarder:
    def __init__(self, session: aiohttp.ClientSession, links: tuple[bytes, bytes], store: Path):
        """``links``: how links of upstream begin, and how ours do."""
        self._session = session
        self._links = links
        self._store = store
        self._files = 0

    async def page(self, request: web.Request) -> web.StreamResponse:
        headers = {name: request.headers[name] for name in ("Accept",) if name in request.headers}
        async with self._session.get(request.path, headers=headers) as answer:
            body = (await answer.read()).replace(*self._links)
            media = answer.headers["Content-Type"]
            return web.Response(body=body, status=answer.status, headers={"Content-Type": media})

    async def file(self, request: web.Request) -> web.StreamResponse:
        self._files += 1
        spool = self._store / f"{self._files}.part"
        digest = hashlib.sha256()
        async with self._session.get(request.path) as answer:
            response = web.StreamResponse(status=answer.status)
            response.content_length = answer.content_length
            await response.prepare(request)
            with spool.open("wb", buffering=0) as file:
                async for chunk in answer.content.iter_any():
                    digest.update(chunk)
                    file.write(chunk)
                    await response.write(chunk)
        spool.rename(self._store / digest.hexdigest())
        return response


async def _ready(_: web.Request) -> web.Response:
    return web.Response()


async def _serve(port: int, upstream: str, store: Path) -> None:
    store.mkdir(parents=True)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(upstream, connector=connector) as session:
        links = (f"{upstream}/files/".encode(), f"http://127.0.0.1:{port}/files/".encode())
        forwarder = Forwarder(session, links, store)
        app = web.Application()
        app.router.add_get("/-/ready", _ready)
        app.router.add_get("/simple/{project}/", forwarder.page)
        app.router.add_get("/files/{path:.+}", forwarder.file)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        gc.freeze()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    parser.add_argument("store", type=Path)
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.upstream, options.store))
