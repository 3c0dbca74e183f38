"""Servers that share an object store, and ways to read a file of theirs."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from proxy.scale.object_store import path_of
from tests.support.distributions import make_wheel
from tests.support.running import Running, running
from tests.support.seaweedfs import BUCKET, ObjectServer
from tests.support.upstream import Upstream

LIMIT = 60.0
"""Seconds in which a request has to end."""


class Got(NamedTuple):
    """What a client received."""

    status: int
    body: bytes
    broken: bool
    """The connection ended before all announced bytes had come."""
    seconds: float
    location: str = ""


class Wheels:
    """Wheels of an upstream, by their name."""

    def __init__(self, upstream: Upstream, folder: Path) -> None:
        self.upstream = upstream
        self._folder = folder
        self.content: dict[str, bytes] = {}

    def add(self, name: str, size: int = 1000) -> str:
        """A wheel of that project with so many bytes of padding; returns its sha256."""
        wheel = make_wheel(self._folder / "dist", name, "1.0", padding=size)
        self.upstream.add(wheel)
        self.content[name] = wheel.read_bytes()
        return self.sha256(name)

    def sha256(self, name: str) -> str:
        return hashlib.sha256(self.content[name]).hexdigest()

    def path(self, name: str) -> str:
        return f"/files/{name}/{self.sha256(name)}/{name}-1.0-py3-none-any.whl"

    @property
    def asked(self) -> int:
        """How often upstream was asked for the bytes of a wheel."""
        return sum(each.path.endswith(".whl") for each in self.upstream.requests)


class SharedStore:
    """One prefix of an object store, and servers that use it."""

    def __init__(self, server: ObjectServer, prefix: str, folder: Path) -> None:
        self.server = server
        self.client = server.client(prefix)
        self.url = f"s3://{BUCKET}/{prefix}"
        self._folder = folder
        self._number = 0

    def replica(
        self, upstream: Upstream, *arguments: str | Path, **storage: Any
    ) -> AbstractAsyncContextManager[Running]:
        """A server with a cache folder of its own; ``storage``: more keys of that table."""
        self._number += 1
        folder = self._folder / f"replica-{self._number}"
        folder.mkdir()
        return running(folder, "--upstream", upstream.url, *arguments, **self.variables(**storage))

    def variables(self, **storage: Any) -> dict[str, str]:
        """The environment of a command that uses the store."""
        table = json.dumps({"files": self.url, **storage})
        return {"WAYSTATION_STORAGE": table, **self.server.variables}

    def folder_of(self, number: int) -> Path:
        """The cache folder of the first, second … replica."""
        return self._folder / f"replica-{number}" / "cache"

    async def has(self, sha256: str) -> bool:
        try:
            await self.client.head_async(path_of(sha256))
        except FileNotFoundError:
            return False
        return True

    async def read(self, sha256: str) -> bytes:
        found = await self.client.get_async(path_of(sha256))
        return bytes(await found.bytes_async())

    async def blobs(self) -> int:
        return len(await self.client.list("v1/blob/").collect_async())


async def get(
    server: Running, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> Got:
    """Redirects are not followed."""
    async with opened(server, path, headers, method) as (response, began):
        body, broken = bytearray(), False
        try:
            async for chunk in response.content.iter_any():
                body += chunk
        except aiohttp.ClientError:
            broken = True
        seconds = asyncio.get_running_loop().time() - began
        location = response.headers.get("Location", "")
        return Got(response.status, bytes(body), broken, seconds, location)


@asynccontextmanager
async def opened(
    server: Running, path: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> AsyncIterator[tuple[aiohttp.ClientResponse, float]]:
    """The answer, not read yet, and when the request began."""
    began = asyncio.get_running_loop().time()
    timeout = aiohttp.ClientTimeout(LIMIT)
    async with (
        aiohttp.ClientSession(timeout=timeout, read_bufsize=2**16) as client,
        client.request(
            method, server.address + path, headers=headers, allow_redirects=False
        ) as response,
    ):
        yield response, began
