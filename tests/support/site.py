"""The web server on a free port of 127.0.0.1, and ways to talk to it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, NamedTuple

import aiohttp
from multidict import CIMultiDictProxy
from yarl import URL

from proxy.events import Events, Observer
from proxy.indexes import LocalDirectory, Routed
from proxy.model import ProjectName
from proxy.web.access_log import AccessLog
from proxy.web.access_log import log as access_log
from proxy.web.app import create_app
from proxy.web.response_cache import ResponseCache
from proxy.web.server import Server
from tests.support.fake_index import FakeIndex
from tests.support.policies import GuardedFake
from tests.support.sockets import connected, exchange

LIMIT = 60.0
"""Seconds in which everything here has to end."""
APP = (
    "fixed_url",
    "prefix",
    "provenance",
    "ready",
    "clock",
    "client_refresh",
    "counters",
    "help_text",
    "as_of",
    "pages",
    "access",
    "find_document",
    "administration",
    "publishers",
)


Served = FakeIndex | GuardedFake | LocalDirectory | Routed


class Answer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class Lines(logging.Handler):
    """The fields of the access log's lines, and a way to wait for the next."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: list[dict[str, Any]] = []
        self._more = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.fields.append(record.__dict__["fields"])
        self._more.set()

    async def next(self) -> dict[str, Any]:
        """The oldest line that was not taken yet."""
        async with asyncio.timeout(LIMIT):
            while not self.fields:
                self._more.clear()
                await self._more.wait()
        return self.fields.pop(0)


class Site:
    """A server that runs. ``lines`` are those of its access log."""

    def __init__(
        self, server: Server, client: aiohttp.ClientSession, lines: Lines, twice: bool
    ) -> None:
        self.server = server
        self.port = server.port
        self.lines = lines
        self._client = client
        self._twice = twice

    async def get(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None
    ) -> Answer:
        """The answer as it came: redirects are not followed, nothing is decoded."""
        answer = await self._get(path, method, headers)
        return await self._get(path, method, headers) if self._twice else answer

    async def _get(self, path: str, method: str, headers: Mapping[str, str] | None) -> Answer:
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        async with self._client.request(
            method, url, headers=headers, allow_redirects=False
        ) as response:
            return Answer(response.status, response.headers, await response.read())

    def posting(
        self, path: str, body: Any, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        """A form that is sent; redirects are not followed."""
        url = URL(f"http://127.0.0.1:{self.port}{path}", encoded=True)
        return self._client.post(url, data=body, headers=headers, allow_redirects=False)

    async def post(self, path: str, data: Any, headers: Mapping[str, str] | None = None) -> Answer:
        async with self.posting(path, data, headers or {}) as response:
            return Answer(response.status, response.headers, await response.read())

    async def raw(self, sent: bytes) -> bytes:
        """All that comes back on a connection of its own until it is closed or reset."""
        return await exchange(self.port, sent)

    def connection(
        self,
    ) -> AbstractAsyncContextManager[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        return connected(self.port)


@asynccontextmanager
async def serving(
    index: Served,
    *,
    fast: bool = False,
    twice: bool = False,
    observers: Sequence[Observer] = (),
    mounted: Mapping[str, FakeIndex | LocalDirectory] | None = None,
    recheck: Callable[[str, ProjectName], None] = lambda index, project: None,
    **options: Any,
) -> AsyncIterator[Site]:
    """``fast``: answers are given before their request is parsed, where they can be.
    ``twice``: the client makes every request twice, and returns the second answer.

    ``observers`` get the events of requests. ``mounted``: further indexes by their root.
    ``recheck`` gets index and project of stale pages.

    ``options`` as for ``create_app`` and ``Server``.
    """
    indexes: dict[str, Served] = {
        "": index,
        **(mounted or {}),
    }
    clock = options.get("clock") or time.time
    cache = ResponseCache(clock=clock, recheck=recheck) if fast else None
    events = Events(AccessLog().observe, *observers)
    if cache:
        for each in indexes.values():
            assert not isinstance(each, LocalDirectory | Routed)
            each.events.subscribe(cache.observe)
    for_app = {name: options.pop(name) for name in APP if name in options}
    server: Server
    app = create_app(
        indexes,
        index_url=lambda: f"http://127.0.0.1:{server.port}/simple/",
        response_cache=cache,
        events=events,
        **for_app,
    )
    of_server: dict[str, Any] = {"host": "127.0.0.1", "port": 0, "grace": 0.1}
    server = Server(app, response_cache=cache, **of_server | options)
    lines = Lines()
    with _listening(lines):
        await server.start()
        try:
            async with _client() as client:
                yield Site(server, client, lines, twice)
        finally:
            await server.stop()


@contextmanager
def _listening(lines: Lines) -> Iterator[None]:
    level = access_log.level
    access_log.addHandler(lines)
    access_log.setLevel(logging.INFO)
    try:
        yield
    finally:
        access_log.removeHandler(lines)
        access_log.setLevel(level)


def _client() -> aiohttp.ClientSession:
    """Sends no header of its own accord but Host."""
    return aiohttp.ClientSession(
        auto_decompress=False,
        skip_auto_headers=("Accept", "Accept-Encoding", "User-Agent"),
        timeout=aiohttp.ClientTimeout(total=LIMIT),
    )
