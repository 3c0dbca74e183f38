"""The yardstick of cold installs: an aiohttp server that forwards, hashes and stores, nothing else.

It rewrites the links of pages to itself, and streams files and core metadata to the client while
it hashes them and writes them to disk. It checks, remembers and prefetches nothing. The bare one
writes from its event loop, syncs no file and has no log. The careful one does what a server
has to do: threads write, a file and its folder are synced before the file has its name, and
requests are logged.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import hashlib
import logging
import os
import sys
from collections.abc import Iterator, Sequence
from io import FileIO
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from benchmarks.processes import Server, free_port, running
from benchmarks.servers import SOURCE

FORWARDER = "bare forwarder"
CAREFUL = "careful forwarder"
CONNECTIONS = 100


@contextlib.contextmanager
def aiohttp_forwarder(
    folder: Path, upstream: str, cores: Sequence[int], careful: bool = False
) -> Iterator[Server]:
    """It stores files below ``folder``."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.aiohttp_forwarder"]
    command += [str(port), upstream, str(folder / "store"), *(["--careful"] if careful else [])]
    environment = {"PYTHONPATH": str(SOURCE)}
    with running(
        CAREFUL if careful else FORWARDER,
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
                    await self._write(file, chunk)
                    await response.write(chunk)
                await self._name(file, self._store / digest.hexdigest())
        return response

    async def _write(self, file: FileIO, chunk: bytes) -> None:
        file.write(chunk)

    async def _name(self, file: FileIO, target: Path) -> None:
        Path(str(file.name)).rename(target)


class CarefulForwarder(Forwarder):
    async def _write(self, file: FileIO, chunk: bytes) -> None:
        await asyncio.to_thread(file.write, chunk)

    async def _name(self, file: FileIO, target: Path) -> None:
        await asyncio.to_thread(_sync_and_name, file, target)


def _sync_and_name(file: FileIO, target: Path) -> None:
    os.fsync(file)
    Path(str(file.name)).rename(target)
    folder = os.open(target.parent, os.O_RDONLY)
    os.fsync(folder)
    os.close(folder)


async def _ready(_: web.Request) -> web.Response:
    return web.Response()


async def _serve(port: int, upstream: str, store: Path, careful: bool) -> None:
    store.mkdir(parents=True)
    connector = aiohttp.TCPConnector(limit=CONNECTIONS)
    async with aiohttp.ClientSession(upstream, connector=connector) as session:
        links = (f"{upstream}/files/".encode(), f"http://127.0.0.1:{port}/files/".encode())
        forwarder = (CarefulForwarder if careful else Forwarder)(session, links, store)
        app = web.Application()
        app.router.add_get("/-/ready", _ready)
        app.router.add_get("/simple/{project}/", forwarder.page)
        app.router.add_get("/files/{path:.+}", forwarder.file)
        runner = web.AppRunner(app, access_log=logging.getLogger() if careful else None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        gc.freeze()
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("upstream")
    parser.add_argument("store", type=Path)
    parser.add_argument("--careful", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO)
    uvloop.run(_serve(options.port, options.upstream, options.store, options.careful))
