"""A proxy that speculates, a fake upstream behind it and a client in front, in one process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
from multidict import CIMultiDictProxy

from proxy.composition.cache import Cache, open_cache
from proxy.composition.proxy import Proxy, open_proxy
from proxy.config.settings import Settings
from proxy.prefetch import Prefetching
from proxy.web.access_log import AccessLog
from proxy.web.app import create_app
from proxy.web.server import Server
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.listings import JSON, Listed
from tests.support.upstream import Upstream
from tests.support.waiting import until


def user_agent(tool: str = "pip/26.1", **fields: Any) -> str:
    """The User-Agent of pip on an ordinary Linux; ``fields`` replaces parts of its JSON."""
    known: dict[str, Any] = {
        "python": "3.12.4",
        "cpu": "x86_64",
        "implementation": {"name": "CPython", "version": "3.12.4"},
        "system": {"name": "Linux", "release": "6.1.0"},
        "distro": {"id": "x", "version": "12", "libc": {"lib": "glibc", "version": "2.36"}},
    }
    return f"{tool} {json.dumps(known | fields)}"


class PrefetchAnswer(NamedTuple):
    status: int
    headers: CIMultiDictProxy[str]
    body: bytes


class InstallerClient:
    """Asks as an installer does: for addresses that pages show, one after the other."""

    def __init__(self, port: int, agent: str) -> None:
        self._root = f"http://127.0.0.1:{port}"
        self._session = aiohttp.ClientSession(headers={"User-Agent": agent, "Accept": JSON})

    async def get(self, path: str, **headers: str) -> PrefetchAnswer:
        async with self._session.get(self._root + path, headers=headers) as answer:
            answer.raise_for_status()
            return PrefetchAnswer(answer.status, answer.headers, await answer.read())

    async def page(self, project: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((await self.get(f"/simple/{project}/")).body)
        return found

    async def file(self, listed: Listed, suffix: str = "") -> bytes:
        digest = listed.entry["hashes"]["sha256"]
        path = f"/files/{listed.project}/{digest}/{listed.entry['filename']}{suffix}"
        return (await self.get(path)).body

    async def metadata(self, listed: Listed) -> bytes:
        return await self.file(listed, ".metadata")

    async def install(self, *wheels: Listed) -> None:
        """As pip does it: page and metadata of each, and then the wheels."""
        for wheel in wheels:
            await self.page(wheel.project)
            await self.metadata(wheel)
        for wheel in wheels:
            await self.file(wheel)

    async def close(self) -> None:
        await self._session.close()


class OpenProxy:
    """A proxy with a server in front."""

    def __init__(self, proxy: Proxy, port: int) -> None:
        self.proxy = proxy
        self.port = port

    @property
    def prefetching(self) -> Prefetching:
        assert self.proxy.prefetching
        return self.proxy.prefetching

    async def all_guesses_done(self) -> None:
        """Until no guess is left."""
        await until(lambda: self.prefetching.idle)

    @asynccontextmanager
    async def client(self, agent: str | None = None) -> AsyncIterator[InstallerClient]:
        client = InstallerClient(self.port, user_agent() if agent is None else agent)
        try:
            yield client
        finally:
            await client.close()


class PrefetchWorld:
    """Upstream, a directory of private distributions, and a cache folder that stays."""

    def __init__(self, root: Path, upstream: Upstream, clock: Clock) -> None:
        self.root = root
        self.upstream = upstream
        self.clock = clock
        self.packages = root / "packages"
        self.packages.mkdir()

    def add(
        self, name: str, version: str = "1.0", requires: Sequence[str] = (), **described: Any
    ) -> Listed:
        """List a wheel upstream; ``described`` as for ``make_wheel`` and ``Upstream.add``."""
        made = {key: described.pop(key) for key in ("tag", "padding") if key in described}
        wheel = make_wheel(self.root / "dist", name, version, requires=requires, **made)
        return self.upstream.add(wheel, **described)

    def asked(self) -> list[str]:
        """What upstream was asked for, in order: projects, and names of files."""
        return [each.path.rstrip("/").rpartition("/")[2] for each in self.upstream.requests]

    def cache(self) -> AbstractAsyncContextManager[Cache]:
        """As a command opens it."""
        return open_cache(Settings(cache_dir=self.root / "cache"), self.clock)

    @asynccontextmanager
    async def open(self, **settings: Any) -> AsyncIterator[OpenProxy]:
        known: dict[str, Any] = {
            "upstream": self.upstream.url,
            "packages": self.packages,
            "cache_dir": self.root / "cache",
            "retries": 0,
            "shutdown_grace": 10.0,
        }
        async with open_proxy(Settings(**known | settings), self.clock) as proxy:
            proxy.events.subscribe(AccessLog().observe)
            app = create_app(
                {"": proxy.index}, index_url=lambda: "", events=proxy.events, clock=self.clock
            )
            server = Server(app, host="127.0.0.1", port=0, grace=0.1)
            await server.start()
            try:
                yield OpenProxy(proxy, server.port)
            finally:
                await server.stop()


@asynccontextmanager
async def speculating(root: Path, clock: Clock) -> AsyncIterator[PrefetchWorld]:
    async with Upstream() as upstream:
        yield PrefetchWorld(root, upstream, clock)
    await until(lambda: asyncio.all_tasks() == {asyncio.current_task()}, 5)
