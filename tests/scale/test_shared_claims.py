"""Private names of replicas that share Redis: none of them asks upstream for one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from proxy.scale import RedisLink, RedisPurgeLog, RedisRecords, SharedClaims
from proxy.storage import Claims, Key, RecordKind
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer
from tests.support.waiting import until

HERE = "/srv/packages"
GRACE = 6.0


class ClaimingReplica:
    def __init__(self, claims: Claims, shared: SharedClaims) -> None:
        self.claims = claims
        self.shared = shared

    async def knows(self, project: str) -> bool:
        await self.shared.exchange()
        return self.claims.is_withheld(project)


Open = Callable[[str], Awaitable[ClaimingReplica]]


@pytest.fixture
async def replica(redis_url: str, tmp_path: Path, clock: Clock) -> AsyncIterator[Open]:
    async with AsyncExitStack() as stack:

        async def opened(name: str) -> ClaimingReplica:
            link = RedisLink(redis_url)
            stack.push_async_callback(link.close)
            log = await stack.enter_async_context(RedisPurgeLog(link, "claimed"))
            claims, records = Claims(tmp_path / name), RedisRecords(link)
            await claims.load(records)
            return ClaimingReplica(claims, SharedClaims(claims, records, log, clock))

        yield opened


async def test_a_name_that_one_replica_claims_is_private_on_all(replica: Open) -> None:
    one, other = await replica("one"), await replica("other")
    one.claims.add(HERE, ["secret"])
    await one.shared.exchange()
    await until(lambda: other.knows("secret"))
    assert await (await replica("a later one")).knows("secret")


async def test_names_survive_the_loss_of_redis(replica: Open, redis_server: RedisServer) -> None:
    one, other = await replica("one"), await replica("other")
    one.claims.add(HERE, ["secret"])
    await one.shared.exchange()
    await until(lambda: other.knows("secret"))
    await other.claims.save()
    redis_server.ask("FLUSHALL")
    assert await (await replica("other")).knows("secret")


async def test_a_purged_name_stays_private_if_a_replica_claims_it_again(
    replica: Open, clock: Clock
) -> None:
    one, other = await replica("one"), await replica("other")
    one.claims.served.add(HERE)
    one.claims.add(HERE, ["secret"])
    await one.shared.exchange()
    await until(lambda: other.knows("secret"))
    await other.shared.exchange(["secret"])
    await one.shared.exchange(["secret"])
    clock.advance(GRACE)
    await one.shared.exchange()
    assert await other.knows("secret")


async def test_a_purged_name_that_no_replica_claims_again_is_given_up(
    replica: Open, clock: Clock, redis_url: str
) -> None:
    one, other = await replica("one"), await replica("other")
    one.claims.add(HERE, ["secret"])
    await one.shared.exchange()
    await until(lambda: other.knows("secret"))
    link = RedisLink(redis_url)
    await RedisRecords(link).forget(Key(RecordKind.CLAIM, "%2Fsrv%2Fpackages", "secret"))
    await link.close()
    for each in (one, other):
        await each.shared.exchange(["secret"])
        assert await each.knows("secret")
    clock.advance(GRACE)
    for each in (one, other):
        assert not await each.knows("secret")
    assert not await (await replica("other")).knows("secret")
