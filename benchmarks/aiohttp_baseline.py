"""The cost of the simplest aiohttp proxy, which passes on each answer of upstream.

It stores, checks and rewrites nothing: more time on a cold request is the cost of our work.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import aiohttp
import uvloop
from aiohttp import web

from benchmarks.processes import Server, free_port, running
from benchmarks.servers import SOURCE

AIOHTTP_BASELINE = "bare aiohttp"
_PASSED = ("Accept", "Content-Encoding", "Content-Type")


@contextlib.contextmanager
def aiohttp_baseline(folder: Path, upstream: str) -> Iterator[Server]:
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "benchmarks.aiohttp_baseline",
        "--port",
        str(port),
        "--upstream",
        upstream,
    ]
    environment = {"PYTHONPATH": str(SOURCE)}
    with running(
        AIOHTTP_BASELINE,
        command,
        port=port,
        folder=folder,
        environment=environment,
        ready="/-/counts",
    ) as server:
        yield server


async def _serve(port: int, upstream: str) -> None:
    async with aiohttp.ClientSession(upstream, auto_decompress=False) as session:

        async def passed_on(request: web.Request) -> web.Response:
            headers = {"Accept-Encoding": "gzip"} | _some(request.headers)
            async with session.get(request.path, headers=headers) as answer:
                body = await answer.read()
                return web.Response(body=body, status=answer.status, headers=_some(answer.headers))

        app = web.Application()
        app.router.add_get("/{path:.*}", passed_on)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        gc.freeze()
        await asyncio.Event().wait()


def _some(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in _PASSED if name in headers}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--upstream", required=True)
    options = parser.parse_args()
    uvloop.run(_serve(options.port, options.upstream))
