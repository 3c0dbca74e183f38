"""People who type without pause, and many servers and workers: installers do not notice."""

from __future__ import annotations

import asyncio
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import pytest

from proxy.events import AnswerServed, Outcome, RequestKind
from proxy.face import RANGES, CountedInterval, History
from proxy.face.answering import MAX_ASKING
from proxy.model import ProjectName
from proxy.runtime import SharedCounters
from proxy.storage import MemoryRecords
from proxy.web import COUNTER_COLUMNS, Counters, Figures, figures_of
from tests.support.clock import Clock
from tests.support.face_world import BROWSER, FaceWorld, face_world
from tests.support.faults import Fault
from tests.support.mounts import read_only
from tests.support.running import Running, running
from tests.support.sockets import connected
from tests.support.waiting import until

HOUR = RANGES[0]
MORE_MEMORY = 24 * 2**20
"""Bytes that a server may have more after a thousand searches."""
SERVED = AnswerServed(
    client="127.0.0.1",
    method="GET",
    path="/files/x",
    kind=RequestKind.FILE,
    project=ProjectName("demo"),
    filename="demo-1.0.tar.gz",
    status=200,
    outcome=Outcome.HIT,
    sent=10,
    timings=((0.0, 2.0),),
)


async def type_and_install(world: FaceWorld, searches: int) -> set[int]:
    """Statuses of so many searches at the same time; meanwhile pages for installers are read."""

    async def search(number: int) -> int:
        address = f"{world.server.address}/search/?q=acme-{number % 30}"
        async with world.client.get(address, headers=BROWSER) as answer:
            text = await answer.text()
            if answer.status == 503:
                assert answer.headers["Retry-After"] and 'id="results"' in text
            return answer.status

    async def install() -> None:
        for _ in range(10):
            async with world.client.get(f"{world.server.index}acme-tool/") as page:
                assert page.status == 200 and "acme_tool-1.3" in await page.text()

    statuses, *_ = await asyncio.gather(
        asyncio.gather(*(search(number) for number in range(searches))), install(), install()
    )
    return set(statuses)


async def test_many_searches_at_once_are_refused_and_cost_no_memory(tmp_path: Path) -> None:
    async with face_world(tmp_path) as world:
        assert await type_and_install(world, 200) == {200, 503}
        before = world.server.peak()
        for _ in range(4):
            assert await type_and_install(world, 200) == {200, 503}
        assert world.server.peak() - before < MORE_MEMORY


async def test_forms_that_arrive_slowly_take_no_turn(tmp_path: Path) -> None:
    async with running(tmp_path, "--offline") as server, AsyncExitStack() as stack:
        head = (
            f"POST /-/theme HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\n"
            f"Origin: {server.address}\r\nContent-Length: 20\r\n"
            "Content-Type: application/x-www-form-urlencoded\r\n\r\n"
        )
        forms = [await stack.enter_async_context(connected(server.port)) for _ in range(12)]
        for _, writer in forms:
            writer.write(head.encode() + b"theme=")
            await writer.drain()
        assert await shows_activity(server)
        for _, writer in forms:
            writer.write(b"dark&padding=x")
        answers = [await reader.readline() for reader, _ in forms]
        assert answers == [b"HTTP/1.1 303 See Other\r\n"] * 12


async def test_pages_that_wait_for_an_upstream_leave_turns_to_others(tmp_path: Path) -> None:
    async with face_world(tmp_path) as world:
        hang = asyncio.Event()
        world.upstream.fault("/simple/slow-", Fault(hang=hang))
        waiting = [asyncio.create_task(world.get(f"/project/slow-{n}/")) for n in range(12)]
        await until(lambda: world.upstream.count("/simple/slow-") >= MAX_ASKING)
        refused, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
        assert {each.result()[0] for each in refused} == {503}
        for path in ("/", "/-/activity", "/search/?q=acme"):
            assert (await world.get(path))[0] == 200
        hang.set()
        statuses = [status for status, _ in await asyncio.gather(*waiting)]
        assert statuses.count(404) == MAX_ASKING and set(statuses) == {404, 503}


def test_workers_are_counted_once_and_one_that_is_killed_is_a_gap() -> None:
    rows = [memoryview(bytearray(8 * COUNTER_COLUMNS)).cast("Q") for _ in range(3)]
    workers = [Counters(SharedCounters(rows, number)) for number in range(3)]
    for counters in workers:
        counters.observe(SERVED)
    seen = [figures_of(counters) for counters in workers]
    assert [each.here for each in seen] == [3, 3, 3]  # each sees all, and one of them samples
    rows[1][:] = memoryview(bytearray(8 * COUNTER_COLUMNS)).cast("Q")  # as after a kill
    assert figures_of(workers[0]).since(seen[0]) is None


async def test_two_servers_on_one_cache_folder_have_a_past_each(clock: Clock) -> None:
    records, found = MemoryRecords(), []
    counters = Counters(SharedCounters.single_process())
    for server in ("one", "other"):
        past = History(counters, records, server, samples=True, shared=False, clock=clock)
        await past.start()
        past.add(CountedInterval(Figures(here=5), 10.0), clock())
        await past.close()
        reading = History(counters, records, server, samples=False, shared=True, clock=clock)
        found.append((await reading.totals(HOUR))[0].here)
    assert found == [5, 5]


async def shows_activity(server: Running) -> bool:
    async with (
        aiohttp.ClientSession(headers=BROWSER) as client,
        client.get(f"{server.address}/-/activity") as page,
    ):
        return page.status == 200 and "Answers to installers" in await page.text()


@pytest.mark.slow
async def test_the_page_is_there_with_workers_after_a_kill_and_beside_a_server(
    tmp_path: Path,
) -> None:
    """Of one cache folder."""

    def workers(server: Running) -> set[int]:
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        return set(map(int, children.read_text().split()))

    async with (
        running(tmp_path, "--offline", WAYSTATION_WORKERS="3") as server,
        running(tmp_path, "--offline") as other,
    ):
        assert await shows_activity(server) and await shows_activity(other)
        before = workers(server)
        os.kill(min(before), signal.SIGKILL)
        await until(lambda: len(workers(server) - before) == 1)
        assert {await shows_activity(server) for _ in range(6)} == {True}


async def test_a_cache_that_can_only_be_read_has_pages(tmp_path: Path) -> None:
    async with running(tmp_path, "--offline") as server:
        assert await shows_activity(server)
    with read_only(tmp_path / "cache"):
        async with running(tmp_path, "--offline") as server, aiohttp.ClientSession() as client:
            assert await shows_activity(server)
            for path in ("/", "/search/?q=demo"):
                async with client.get(server.address + path, headers=BROWSER) as page:
                    assert page.status == 200
        assert not [line for line in server.err.lines if "Traceback" in line]


async def test_a_head_request_has_the_headers_alone(tmp_path: Path) -> None:
    async with running(tmp_path, "--offline") as server, aiohttp.ClientSession() as client:
        for path in ("/", "/search/?q=a", "/-/activity", "/-/setup", "/-/help", "/-/why/demo"):
            async with client.head(server.address + path, headers=BROWSER) as head:
                assert head.status == 200 and await head.read() == b""
                assert "frame-ancestors 'none'" in head.headers["Content-Security-Policy"]
