"""The contract of ``PurgeLog``, run over every implementation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.scale import RedisLink, RedisPurgeLog
from proxy.storage.purge_log import EVERYTHING, MISSED, FilePurgeLog, PurgeLog
from tests.support.redis_server import RedisServer, redis_program

Opener = Callable[[], Awaitable[PurgeLog]]
"""The log of one cache, as another process opens it."""


@pytest.fixture(params=["file", "redis", "valkey"])
async def opened(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Opener]:
    async with AsyncExitStack() as stack:

        async def in_file() -> PurgeLog:
            return FilePurgeLog(tmp_path / "purged")

        async def in_redis() -> PurgeLog:
            link = RedisLink(url)
            stack.push_async_callback(link.close)
            return await stack.enter_async_context(RedisPurgeLog(link, "purged"))

        if request.param == "file":
            yield in_file
            return
        url = request.getfixturevalue(f"{request.param}_url")
        yield in_redis


async def read(log: PurgeLog, count: int) -> list[str]:
    """That many new names, when they have arrived, and those that have arrived with them."""
    names: list[str] = []
    async with asyncio.timeout(20):
        while True:
            names += log.read_new()
            if len(names) >= count:
                return names
            await asyncio.sleep(0.01)


async def test_each_reader_reads_once_what_is_purged_from_now_on(opened: Opener) -> None:
    before = await opened()
    await before.append(["a"])
    after = await opened()
    await before.append(["b", "c"])
    await (await opened()).append([EVERYTHING])
    assert await read(before, 4) == ["a", "b", "c", EVERYTHING]
    assert await read(after, 3) == ["b", "c", EVERYTHING]
    assert before.read_new() == after.read_new() == []


async def test_a_log_without_new_entries_reads_nothing(opened: Opener) -> None:
    log = await opened()
    assert log.read_new() == []
    await log.append([])
    assert log.read_new() == []


async def test_a_log_that_redis_has_lost_may_lack_names() -> None:
    with RedisServer(redis_program()) as server:
        link = RedisLink(server.url)
        async with RedisPurgeLog(link, "purged") as log:
            await log.append(["a"])
            assert await read(log, 1) == ["a"]
            server.kill()
            server.start()
            assert await read(log, 1) == [MISSED]
        await link.close()


async def test_names_that_came_while_redis_was_frozen_are_read() -> None:
    with RedisServer(redis_program()) as server:
        link, other = RedisLink(server.url), RedisLink(server.url)
        async with RedisPurgeLog(link, "purged") as reader, RedisPurgeLog(other, "purged") as log:
            await log.append(["a"])
            with server.frozen(), pytest.raises(OSError, match=r"."):
                await log.append(["lost"])
            await log.append(["b"])
            assert [name for name in await read(reader, 2) if name != "lost"] == ["a", "b"]
        await link.close()
        await other.close()
