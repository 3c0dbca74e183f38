"""An index on a free port of 127.0.0.1, for tools that run as subprocesses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.indexes.base import Index
from proxy.web.app import create_app
from proxy.web.server import Server

_GRACE = 1.0
"""Seconds for requests of tools that are gone."""


@asynccontextmanager
async def serving(index: Index) -> AsyncIterator[str]:
    """The address of the index, ``http://127.0.0.1:<port>/simple/``."""
    server: Server

    def address() -> str:
        return f"http://127.0.0.1:{server.port}/simple/"

    app = create_app(index, index_url=address, logged=False)  # nobody's requests but our own
    server = Server(app, host="127.0.0.1", port=0, grace=_GRACE)
    await server.start()
    try:
        yield address()
    finally:
        await server.stop()
