"""The contract of ``Leases``, and what leases in Redis and Valkey do beyond that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest

from proxy.errors import StoreUnavailable
from proxy.indexes.mirror.shared_downloads import SharedDownloads
from proxy.scale import RedisLeases, RedisLink
from proxy.storage import NO_LEASES, Leases, StoredPage, StoredPages
from proxy.storage.in_memory import MemoryRecords
from tests.support.redis_server import RedisServer, redis_program

LEASE = 0.6
"""Seconds."""
WORK = "index/demo"
Opener = Callable[[], Awaitable[RedisLeases]]
"""The leases as another replica opens them."""


@pytest.fixture(params=["redis", "valkey"])
async def opened(request: pytest.FixtureRequest) -> AsyncIterator[Opener]:
    url = request.getfixturevalue(f"{request.param}_url")
    async with AsyncExitStack() as stack:

        async def open_leases() -> RedisLeases:
            link = RedisLink(url)
            stack.push_async_callback(link.close)
            return await stack.enter_async_context(RedisLeases(link, LEASE))

        yield open_leases


async def _held_and_given_back(leases: Leases) -> None:
    for _ in range(2):
        turn = await leases.begin(WORK)
        assert turn.held
        await leases.end(turn)
        assert await leases.wait(WORK, 20) == ""


async def test_a_lease_is_held_and_given_back(opened: Opener) -> None:
    await _held_and_given_back(await opened())


async def test_a_lease_that_nothing_shares_is_held_and_given_back() -> None:
    await _held_and_given_back(NO_LEASES)


async def test_one_of_many_replicas_holds_a_lease(opened: Opener) -> None:
    replicas = [await opened() for _ in range(5)]
    turns = await asyncio.gather(*(each.begin(WORK) for each in replicas))
    assert [turn.held for turn in turns].count(True) == 1
    assert (await replicas[0].begin("index/other")).held


async def test_those_who_wait_hear_what_the_holder_leaves(opened: Opener) -> None:
    holder, *others = [await opened() for _ in range(3)]
    turn = await holder.begin(WORK)
    waiting = [asyncio.create_task(each.wait(WORK, 20)) for each in others]
    await asyncio.sleep(0)
    await holder.end(turn, "absent")
    assert await asyncio.gather(*waiting) == ["absent", "absent"]


async def test_a_lease_is_renewed_while_its_holder_works(opened: Opener) -> None:
    holder, other = await opened(), await opened()
    turn = await holder.begin(WORK)
    await other.wait(WORK, 3 * LEASE)
    assert not (await other.begin(WORK)).held
    await holder.end(turn)
    assert (await other.begin(WORK)).held


async def test_the_lease_of_a_lost_replica_is_free_after_a_while(opened: Opener) -> None:
    async with AsyncExitStack() as life:
        lost = await opened()
        life.push_async_exit(lost.__aexit__)  # ends the renewal
        await lost.begin(WORK)
    other = await opened()
    assert not (await other.begin(WORK)).held
    await other.wait(WORK, 20)
    assert (await other.begin(WORK)).held


async def test_an_old_turn_does_not_end_the_lease_of_a_later_one(opened: Opener) -> None:
    one, other = await opened(), await opened()
    turn = await one.begin(WORK)
    await one.end(turn)
    later = await other.begin(WORK)
    assert later.held
    assert later.fence > turn.fence
    await one.end(turn)
    assert not (await one.begin(WORK)).held


async def test_fences_grow_although_the_clock_of_redis_went_back(opened: Opener) -> None:
    far = 4_000_000_000_000_000  # microseconds: in the year 2096
    assert (await (await opened()).begin(WORK, after=far)).fence == far + 1


async def test_without_redis_each_turn_is_held_and_nothing_waits() -> None:
    with RedisServer(redis_program()) as server:
        link = RedisLink(server.url)
        async with RedisLeases(link) as leases:
            server.kill()
            for _ in range(5):
                turn = await leases.begin(WORK)
                assert (turn.held, turn.fence) == (True, 0)
                assert await leases.wait(WORK, 20) == ""
                await leases.end(turn, "absent")
            assert leases.is_away
            assert leases.outcomes["unshared"] == 5
        await link.close()


def _head(checked: float, fence: int, digest: str = "00" * 32) -> StoredPage:
    return StoredPage(
        url="https://index.example.com/simple/demo/",
        content_type="text/html",
        checked=checked,
        lifetime=None,
        fence=fence,
        digest=digest,
    )


@pytest.mark.parametrize(("fence", "checked"), [(6, 200.0), (0, 100.0)])
async def test_the_page_of_an_older_turn_does_not_replace_that_of_a_newer_one(
    fence: int, checked: float
) -> None:
    """A turn without a fence counts by its time: it asked while Redis was away."""
    pages = StoredPages(MemoryRecords(), clock=lambda: 1000.0)
    assert await pages.put("index", "demo", _head(150.0, 7, "77" * 32), b"newer")
    assert not await pages.put("index", "demo", _head(checked, fence), b"older")
    assert await pages.put("index", "demo", _head(120.0, 8), b"newest, by a slow clock")
    assert await pages.put("index", "demo", _head(2000.0, 9), b"newest, by a fast clock")
    assert not await pages.put("index", "demo", _head(300.0, 8), b"older")


async def test_the_lease_of_a_file_is_free_after_a_look_that_failed(opened: Opener) -> None:
    leases = await opened()

    async def fail() -> None:
        raise StoreUnavailable

    with pytest.raises(StoreUnavailable):
        await SharedDownloads(leases).take_turn("demo", fail)
    assert (await leases.begin("file/demo")).held
