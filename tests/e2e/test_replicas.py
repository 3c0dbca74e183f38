"""Several servers on one Redis and one folder of files: what each does for all, also when one of
them is lost."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.redis_server import RedisServer, redis_program
from tests.support.running import Running, running, waystation
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
PAGE = "/simple/demo/"
CLIENTS = 15
"""Of each server."""


class ServerReplicas:
    """Servers, each with a cache folder of its own."""

    def __init__(self, folder: Path, upstream: Upstream, redis: RedisServer) -> None:
        self.folder = folder
        self.upstream = upstream
        self._stack = AsyncExitStack()
        (folder / "shared").mkdir()
        storage = {"records": redis.url, "files": f"file:{folder}/shared"}
        self.settings = {"WAYSTATION_STORAGE": json.dumps(storage)}
        self._count = 0

    async def __aenter__(self) -> ServerReplicas:
        self._client = await self._stack.enter_async_context(aiohttp.ClientSession(headers=JSON))
        return self

    async def __aexit__(self, *error: object) -> None:
        await self._stack.aclose()

    async def start(self, *arguments: str, **settings: str) -> Running:
        self._count += 1
        folder = self.folder / f"replica-{self._count}"
        folder.mkdir()
        server = running(
            folder, "--upstream", self.upstream.url, *arguments, **self.settings, **settings
        )
        return await self._stack.enter_async_context(server)

    async def get(self, server: Running, path: str) -> bytes:
        async with self._client.get(server.address + path) as answer:
            assert answer.status == 200, await answer.text()
            return await answer.read()

    async def versions(self, server: Running) -> list[str]:
        """On the page of the project."""
        versions: list[str] = json.loads(await self.get(server, PAGE))["versions"]
        return versions

    async def file(self, server: Running) -> str:
        """The path of the newest file."""
        url: str = json.loads(await self.get(server, PAGE))["files"][-1]["url"]
        return "/" + url.removeprefix("../../")


@pytest.fixture
def redis() -> Iterator[RedisServer]:
    with RedisServer(redis_program()) as server:
        yield server


@pytest.fixture
async def replicas(
    tmp_path: Path, upstream: Upstream, redis: RedisServer
) -> AsyncIterator[ServerReplicas]:
    upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0", padding=1_000_000))
    async with ServerReplicas(tmp_path, upstream, redis) as made:
        yield made


async def test_replicas_ask_upstream_once_for_each_page_and_file(
    replicas: ServerReplicas, upstream: Upstream
) -> None:
    upstream.fault("*", Fault(delay=0.5))
    servers = [await replicas.start(WAYSTATION_SPECULATE="off") for _ in range(3)]
    clients = servers * CLIENTS
    pages = await asyncio.gather(*(replicas.versions(each) for each in clients))
    assert pages == [["1.0"]] * len(clients)
    path = await replicas.file(servers[0])
    for suffix in ("", ".metadata"):
        gets = (replicas.get(each, path + suffix) for each in clients)
        assert len(set(await asyncio.gather(*gets))) == 1
    assert upstream.count(PAGE) == 1
    assert upstream.count(".whl") == 2  # with the metadata


async def test_a_page_arrives_although_the_replica_that_fetches_it_is_killed(
    replicas: ServerReplicas, upstream: Upstream
) -> None:
    upstream.fault(PAGE, Fault(hang=True), times=1)
    lost, other = await replicas.start(), await replicas.start()
    asking = asyncio.create_task(replicas.versions(lost))
    await until(lambda: upstream.count(PAGE) == 1)
    waiting = asyncio.create_task(replicas.versions(other))
    lost.send(signal.SIGKILL)
    assert await waiting == ["1.0"]
    with pytest.raises(aiohttp.ClientError):
        await asking
    assert upstream.count(PAGE) == 2


async def test_a_file_arrives_although_the_replica_that_fetches_it_is_killed(
    replicas: ServerReplicas, upstream: Upstream
) -> None:
    lost, other = [await replicas.start(WAYSTATION_SPECULATE="off") for _ in range(2)]
    path = await replicas.file(lost)
    upstream.fault(".whl", Fault(hang=True), times=1)
    asking = asyncio.create_task(replicas.get(lost, path))
    await until(lambda: upstream.count(".whl") == 1)
    waiting = asyncio.create_task(replicas.get(other, path))
    lost.send(signal.SIGKILL)
    assert len(await waiting) > 1_000_000
    with pytest.raises(aiohttp.ClientError):
        await asking
    assert upstream.count(".whl") == 2


async def test_a_replica_that_was_frozen_does_not_bring_an_old_page_back(
    replicas: ServerReplicas, upstream: Upstream, tmp_path: Path
) -> None:
    first = await replicas.start()
    gate = asyncio.Event()
    async with (
        aiohttp.ClientSession(headers=JSON) as client,
        client.get(f"{upstream.url}demo/") as answer,
    ):
        old = Fault(hang=gate, body=await answer.read(), content_type=answer.content_type)
    upstream.requests.clear()
    upstream.fault(PAGE, old, times=1)
    asking = asyncio.create_task(replicas.versions(first))
    await until(lambda: upstream.count(PAGE) == 1)
    first.send(signal.SIGSTOP)
    upstream.add(make_wheel(tmp_path / "dist", "demo", "2.0"))
    try:
        assert await replicas.versions(await replicas.start()) == ["1.0", "2.0"]
        gate.set()
    finally:
        first.send(signal.SIGCONT)
    assert await asking == ["1.0"]
    await until(lambda: _is(replicas, first, ["1.0", "2.0"]))
    assert await replicas.versions(await replicas.start()) == ["1.0", "2.0"]
    assert upstream.count(PAGE) == 2


async def _is(replicas: ServerReplicas, server: Running, versions: list[str]) -> bool:
    return await replicas.versions(server) == versions


async def test_a_purge_is_noticed_by_all_replicas(
    replicas: ServerReplicas, upstream: Upstream, tmp_path: Path
) -> None:
    servers = [await replicas.start("--page-ttl", "3600") for _ in range(2)]
    for server in servers:
        assert await replicas.versions(server) == ["1.0"]
    upstream.add(make_wheel(tmp_path / "dist", "demo", "2.0"))
    purge = ("cache", "purge", "demo", "--cache-dir", tmp_path / "console")
    (await waystation(*purge, cwd=tmp_path, **replicas.settings)).succeeded()
    for server in servers:
        await until(lambda server=server: _is(replicas, server, ["1.0", "2.0"]))  # type: ignore[misc]
    assert upstream.count(PAGE) == 2


async def test_a_page_that_one_replica_has_fetched_again_is_new_on_all(
    replicas: ServerReplicas, upstream: Upstream, tmp_path: Path
) -> None:
    one, other = await replicas.start(), await replicas.start()
    for server in (one, other):
        assert await replicas.versions(server) == ["1.0"]
    upstream.add(make_wheel(tmp_path / "dist", "demo", "2.0"))
    async with aiohttp.ClientSession(headers=JSON | {"Cache-Control": "no-cache"}) as client:

        async def refreshed() -> bool:
            (await client.get(f"{one.index}demo/")).close()
            return upstream.count(PAGE) == 2  # a page that was checked a moment ago is new enough

        await until(refreshed)
    await until(lambda: _is(replicas, other, ["1.0", "2.0"]))
    assert upstream.count(PAGE) == 2


async def test_a_name_that_is_private_on_one_replica_is_asked_for_by_none(
    replicas: ServerReplicas, upstream: Upstream, tmp_path: Path
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "secret", "9.0"))
    private = tmp_path / "private"
    private.mkdir()
    owner = await replicas.start("--packages", str(private))
    other = await replicas.start()
    make_wheel(private, "secret", "1.0")
    await replicas.get(owner, "/simple/secret/")

    await until(lambda: _is_withheld(other))
    asked = upstream.count("/simple/secret/")
    assert await _is_withheld(await replicas.start())
    purge = ("cache", "purge", "secret", "--cache-dir", tmp_path / "console")
    (await waystation(*purge, cwd=tmp_path, **replicas.settings)).succeeded()
    assert await _is_withheld(other)
    assert upstream.count("/simple/secret/") == asked


async def _is_withheld(server: Running) -> bool:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{server.index}secret/") as answer,
    ):
        return answer.status == 503


async def test_a_client_that_is_ready_is_served_while_redis_comes_and_goes(
    replicas: ServerReplicas, upstream: Upstream, redis: RedisServer
) -> None:
    redis.kill()
    server = await replicas.start("--page-ttl", "0")
    assert await replicas.get(server, "/readyz")
    assert await replicas.versions(server) == ["1.0"]
    await until(lambda: _shows(replicas, server, "waystation_redis_down 1"))
    assert b"redis: does not answer" in await replicas.get(server, "/readyz?verbose")
    redis.start()
    assert await replicas.versions(server) == ["1.0"]
    await until(lambda: _shows(replicas, server, "waystation_redis_down 0"))
    assert await replicas.versions(server) == ["1.0"]
    await until(lambda: _shows(replicas, server, 'turns_total{result="held"} 1'))
    with redis.frozen():
        assert await replicas.get(server, "/readyz")
        assert await replicas.versions(server) == ["1.0"]


async def _shows(replicas: ServerReplicas, server: Running, text: str) -> bool:
    return text.encode() in await replicas.get(server, "/metrics")


async def test_installers_use_any_replica(
    replicas: ServerReplicas, upstream: Upstream, place: Callable[[], Place], tool: str
) -> None:
    one, other = await replicas.start(), await replicas.start()
    (await place().install(tool, one.index, "demo")).succeeded()
    await until(lambda: len(list((replicas.folder / "shared").rglob("blob/??/*"))) >= 1)
    asked = upstream.count(".whl")
    second = place()
    (await second.install(tool, other.index, "demo")).succeeded()
    assert second.installed()["demo"] == "1.0"
    assert (upstream.count(PAGE), upstream.count(".whl")) == (1, asked)
