"""The failure table: an object store that is absent, refuses, hangs, breaks off, loses or garbles.

A client never gets a wrong byte, nor a 404 where something fails.
"""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
from obstore.exceptions import GenericError

from proxy.scale.object_store import path_of
from tests.support.content import random_bytes
from tests.support.mounts import mounted
from tests.support.relay import Relay
from tests.support.replicas import SharedStore, Wheels, get, opened
from tests.support.running import Running, running, waystation
from tests.support.seaweedfs import READER, object_server
from tests.support.upstream import Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

MB = 10**6


async def away(server: Running) -> None:
    """Wait until the server has noticed that the store does not answer."""
    await server.logged(lambda line: "does not answer" in line["message"])


async def back(server: Running) -> None:
    await server.logged(lambda line: "answers again" in line["message"])


async def test_a_store_that_is_away_at_the_start(
    frail: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("foo", 300_000)
    frail.server.kill()
    async with frail.replica(upstream) as server:
        for _ in range(2):
            assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
        await server.logged(lambda line: "cannot be used yet" in line["message"])
        frail.server.start()
        await server.logged(lambda line: line["message"].endswith(" answers"))
        await until(lambda: stored_at_last(frail, server, wheels, sha256))


async def stored_at_last(store: SharedStore, server: Running, wheels: Wheels, sha256: str) -> bool:
    """The next request for a file that is not stored stores it."""
    assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
    return await store.has(sha256)


async def test_a_store_that_hangs_delays_one_file(
    frail: SharedStore, upstream: Upstream, wheels: Wheels, records: dict[str, str]
) -> None:
    names = ("foo", "bar", "baz")
    for name in names:
        wheels.add(name, 300_000)
    async with frail.replica(upstream, **records) as server:
        await server.logged(lambda line: line["message"].endswith(" answers"))
        frail.server.send(signal.SIGSTOP)
        first, *others = [await get(server, wheels.path(name)) for name in names]
        assert [each.body for each in (first, *others)] == [wheels.content[name] for name in names]
        await away(server)
        assert max(each.seconds for each in others) < first.seconds / 2
        frail.server.send(signal.SIGCONT)
        await back(server)


async def test_a_store_that_dies_before_a_stored_file_is_read(
    frail: SharedStore, upstream: Upstream, wheels: Wheels, records: dict[str, str]
) -> None:
    sha256 = wheels.add("foo", 300_000)
    wheels.add("bar", 300_000)
    async with frail.replica(upstream, **records) as server:
        await get(server, wheels.path("foo"))
        await until(lambda: frail.has(sha256))
        frail.server.kill()
        for name in ("foo", "bar") * 2:
            assert (await get(server, wheels.path(name))).body == wheels.content[name]
        await away(server)
        frail.server.start()
        await back(server)


@pytest.mark.parametrize(
    "hangs", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["reset", "hanging"]
)
async def test_a_body_that_breaks_off_is_continued_from_upstream(
    shared: SharedStore,
    upstream: Upstream,
    wheels: Wheels,
    hangs: bool,
    records: dict[str, str],
) -> None:
    sha256 = wheels.add("foo", 20 * MB)
    async with Relay(shared.server.port) as relay, shared.replica(upstream, **records) as first:
        await get(first, wheels.path("foo"))
        await until(lambda: shared.has(sha256))
        endpoint = {"AWS_ENDPOINT": f"http://127.0.0.1:{relay.port}"}
        folder = shared.folder_of(1).parent.with_name("other")
        folder.mkdir()
        variables = shared.variables(**records) | endpoint
        async with running(folder, "--upstream", upstream.url, **variables) as server:
            await get(server, "/simple/foo/")
            await server.logged(lambda line: line["message"].endswith(" answers"))
            relay.answer_limit, relay.hangs = 5 * MB, hangs
            got = await get(server, wheels.path("foo"))
            assert (got.broken, got.body == wheels.content["foo"]) == (False, True)
            assert relay.is_broken
            assert wheels.asked == 2


async def test_a_put_that_breaks_off_costs_the_client_nothing(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    sha256 = wheels.add("foo", 20 * MB)
    async with Relay(shared.server.port) as relay:
        variables = shared.variables() | {"AWS_ENDPOINT": f"http://127.0.0.1:{relay.port}"}
        async with running(tmp_path, "--upstream", upstream.url, **variables) as server:
            await server.logged(lambda line: line["message"].endswith(" answers"))
            relay.request_limit = 12 * MB
            assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
            await server.logged(lambda line: "is not stored" in line["message"])
            assert not await shared.has(sha256)
            relay.heal()
            await until(lambda: stored_at_last(shared, server, wheels, sha256))


async def test_a_store_that_may_not_be_written(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    sha256 = wheels.add("foo", 300_000)
    variables = shared.variables() | {"AWS_ACCESS_KEY_ID": READER}
    async with running(tmp_path, "--upstream", upstream.url, **variables) as server:
        assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
        await server.logged(lambda line: "is not stored" in line["message"])
        assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
        metrics = (await get(server, "/metrics")).body.decode()
        assert 'waystation_store_failures_total{store="files",what="write"} ' in metrics
        assert 'waystation_store_failures_total{store="files",what="write"} 0.0' not in metrics
    assert not await shared.has(sha256)


async def test_a_full_store_serves_what_it_has(
    upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    stored, lost = wheels.add("foo", 300_000), wheels.add("bar", 9 * MB)
    with mounted(tmp_path / "disk", "size=48m,mode=0700") as disk, object_server(disk) as server:
        store = SharedStore(server, "full", tmp_path)
        async with store.replica(upstream) as replica:
            await get(replica, wheels.path("foo"))
            await until(lambda: store.has(stored))
            with pytest.raises(GenericError):
                for number in range(10):
                    await store.client.put_async(f"filling/{number}", random_bytes(9 * MB, number))
            assert (await get(replica, wheels.path("bar"))).body == wheels.content["bar"]
            await replica.logged(lambda line: "is not stored" in line["message"])
            assert not await store.has(lost)
            assert (await get(replica, wheels.path("foo"))).body == wheels.content["foo"]
            assert wheels.asked == 2


async def test_a_lost_blob_is_fetched_again(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("foo", 300_000)
    async with shared.replica(upstream) as server:
        await get(server, wheels.path("foo"))
        await until(lambda: shared.has(sha256))
        await shared.client.delete_async(path_of(sha256))
        await until(lambda: stored_at_last(shared, server, wheels, sha256))
        assert wheels.asked == 2


@pytest.mark.parametrize("part", [True, False], ids=["part", "whole"])
@pytest.mark.parametrize("size", [100, 3 * MB], ids=["small", "large"])
async def test_a_garbled_blob_is_never_a_complete_answer(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, size: int, part: bool
) -> None:
    sha256 = wheels.add("foo", size)
    content = wheels.content["foo"]
    await shared.client.put_async(path_of(sha256), content[:-20] + b"x" * 20)

    async def is_right() -> bool:
        return await shared.has(sha256) and await shared.read(sha256) == content

    async with shared.replica(upstream) as server:
        if part:
            got = await get(server, wheels.path("foo"), {"Range": "bytes=10-59"})
            assert got.body == content[10:60]
        else:  # of a large one, a client may have the first bytes already
            got = await get(server, wheels.path("foo"))
            assert got.body == content or (got.broken and size > MB)
        assert (await get(server, wheels.path("foo"))).body == content
        await until(is_right)
        assert wheels.asked == 1


async def test_without_room_for_the_spool_the_bytes_pass_through(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    sha256 = wheels.add("foo", 20 * MB)
    async with shared.replica(upstream) as server:
        await get(server, wheels.path("foo"))
        await until(lambda: shared.has(sha256))
    with mounted(tmp_path / "little" / "cache", "size=8m,mode=0700"):
        folder = tmp_path / "little"
        async with running(folder, "--upstream", upstream.url, **shared.variables()) as server:
            assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
            assert wheels.asked == 1


async def test_nothing_is_missing_because_the_store_is_away(
    frail: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("foo", 300_000)
    async with frail.replica(upstream) as server:
        await get(server, wheels.path("foo"))
        await until(lambda: frail.has(sha256))
    folder = frail.folder_of(1).parent
    offline = frail.variables() | {"WAYSTATION_OFFLINE": "true"}
    async with running(folder, "--upstream", upstream.url, **offline) as server:
        assert (await get(server, "/simple/foo/")).status == 200
        frail.server.kill()
        for _ in range(4):
            assert (await get(server, wheels.path("foo"))).status == 503
        assert (await get(server, wheels.path("foo"), method="HEAD")).status == 503
    async with running(folder, "--upstream", upstream.url, **offline) as server:
        assert (await get(server, "/simple/foo/")).status == 503


async def test_with_store_and_upstream_away_there_is_no_404(
    frail: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    wheels.add("foo", 300_000)
    async with frail.replica(upstream) as server:
        assert (await get(server, "/simple/foo/")).status == 200
        frail.server.kill()
        await upstream.stop()
        assert (await get(server, wheels.path("foo"))).status in (502, 503)


async def test_commands_that_use_the_store_end_well(
    shared: SharedStore, upstream: Upstream, wheels: Wheels, tmp_path: Path
) -> None:
    """Without a pause at its end, the library of object stores aborts some processes."""
    for _ in range(10):
        done = await waystation("cache", "stats", cwd=tmp_path, **shared.variables())
        assert done.succeeded().out.split()[4:6] == ["files", "0"]


async def test_a_client_that_leaves_breaks_nothing(
    shared: SharedStore, upstream: Upstream, wheels: Wheels
) -> None:
    sha256 = wheels.add("foo", 20 * MB)
    async with shared.replica(upstream) as server:
        await get(server, wheels.path("foo"))
        await until(lambda: shared.has(sha256))
    async with shared.replica(upstream) as server:
        for _ in range(3):
            async with opened(server, wheels.path("foo")) as (response, _began):
                await response.content.read(1000)
        assert (await get(server, wheels.path("foo"))).body == wheels.content["foo"]
        assert wheels.asked == 1
        server.send(signal.SIGTERM)
        assert await server.ended() == 0
