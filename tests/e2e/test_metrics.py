"""Counters of running servers: right for each kind of answer, summed over processes, never falling.

The access log has a line for each request: the counters have to agree with it.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from proxy.events import RequestKind
from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.listings import Listed
from tests.support.metrics_text import Shown, metrics, total
from tests.support.running import Running, running
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

JSON = {"Accept": "application/vnd.pypi.simple.v1+json"}
NAMES = ("page", "metadata", "file")


@pytest.fixture
async def upstream(tmp_path: Path) -> AsyncIterator[Upstream]:
    async with Upstream() as made:
        yield made


@pytest.fixture
def demo(tmp_path: Path, upstream: Upstream) -> Listed:
    return upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0", requires=["other"]))


def path(listed: Listed, suffix: str = "") -> str:
    digest = listed.entry["hashes"]["sha256"]
    return f"/files/{listed.project}/{digest}/{listed.entry['filename']}{suffix}"


class MetricsClient:
    """Each request uses a new connection: the kernel distributes these to all workers."""

    def __init__(self, server: Running) -> None:
        self._server = server

    async def get(self, path: str, **headers: str) -> aiohttp.ClientResponse:
        async with (
            aiohttp.ClientSession(headers=JSON, auto_decompress=False) as session,
            session.get(self._server.address + path, headers=headers) as answer,
        ):
            await answer.read()
            return answer

    async def kept(self, path: str, times: int) -> None:
        """Uses one connection, so the fast path may answer all requests but the first."""
        async with aiohttp.ClientSession(headers=JSON) as session:
            for _ in range(times):
                async with session.get(self._server.address + path) as answer:
                    await answer.read()


def logged_counts(server: Running) -> Counter[tuple[str, str, str]]:
    """The lines of the access log for pages and files."""
    lines = [each for each in server.requests() if each["path"].count("/") > 2]
    return Counter((_kind(each["path"]), _outcome(each), str(each["status"])) for each in lines)


def _kind(path: str) -> str:
    if path.startswith("/simple/"):
        return RequestKind.PAGE
    return RequestKind.METADATA if path.endswith(".metadata") else RequestKind.FILE


def _outcome(line: dict[str, str]) -> str:
    return "none" if line["outcome"] == "-" else line["outcome"]


def counted(shown: Shown) -> Counter[tuple[str, str, str]]:
    found: Counter[tuple[str, str, str]] = Counter()
    for labels, value in shown["waystation_requests_total"].items():
        each = dict(labels)
        if each["kind"] != RequestKind.OTHER:
            found[each["kind"], each["outcome"], each["status"]] += int(value)
    return found


async def agreed(server: Running, requests: int = 0) -> Shown:
    """The counters, once they agree with the log on at least so many requests.

    Both learn of fast answers within a moment.
    """
    async with asyncio.timeout(20):
        while True:
            shown = await metrics(server.address)
            if (
                counted(shown) == logged_counts(server)
                and logged_counts(server).total() >= requests
            ):
                return shown
            await asyncio.sleep(0.05)


async def _in_flight(server: Running) -> float:
    """Requests of projects and files that are being answered."""
    shown = await metrics(server.address)
    return sum(shown["waystation_requests_in_flight"].values())


async def test_every_way_to_answer_is_counted_as_it_is_logged(
    tmp_path: Path, upstream: Upstream, demo: Listed
) -> None:
    brief = {"WAYSTATION_PAGE_TTL": "2", "WAYSTATION_SPECULATE": "off", "WAYSTATION_RETRIES": "0"}
    async with running(tmp_path, "--upstream", upstream.url, **brief) as server:
        client = MetricsClient(server)
        tag = (await client.get("/simple/demo/")).headers["ETag"]  # miss
        await client.kept("/simple/demo/", 5)  # hits, some of them before parsing
        await client.get("/simple/demo/", **{"If-None-Match": tag})  # 304
        await client.get("/simple/nowhere/")  # 404
        await client.get(path(demo, ".metadata"))
        gate = asyncio.Event()
        upstream.fault(".whl", Fault(hang=gate))
        both = [asyncio.create_task(client.get(path(demo))) for _ in range(2)]
        await until(lambda: upstream.count(".whl", "GET") == 1)
        async with asyncio.timeout(20):
            while await _in_flight(server) < len(both):
                await asyncio.sleep(0.05)
        gate.set()
        await asyncio.gather(*both)  # a miss, and a request that joined it
        async with asyncio.timeout(20):
            while ("file", "hit", "200") not in logged_counts(server):
                await client.kept(path(demo), 2)  # joined, until it is stored
        upstream.fault("/simple/", Fault(status=503))
        async with asyncio.timeout(20):
            while ("page", "stale", "200") not in logged_counts(server):
                await client.get("/simple/demo/")
                await asyncio.sleep(0.1)
            while not total(await metrics(server.address), "upstream_requests", result="failed"):
                await asyncio.sleep(0.1)
        shown = await agreed(server)
        bodies: Counter[str] = Counter()
        for each in server.requests():
            if each["path"].count("/") > 2:
                bodies[_kind(each["path"])] += each["bytes"]
    assert total(shown, "requests", kind="page", status="304") == 1
    assert counted(shown)["page", "none", "404"] == 1
    assert counted(shown)["file", "miss", "200"] == 1
    assert counted(shown)["file", "joined", "200"] >= 1
    assert counted(shown)["file", "hit", "200"] >= 1
    assert counted(shown)["page", "hit", "200"] >= 1
    assert {name: total(shown, "sent_bytes", kind=name) for name in NAMES} == dict(bodies)
    assert total(shown, "upstream_requests", result="answered") == 4  # two pages, two files
    assert total(shown, "upstream_requests", result="failed") >= 1


@pytest.mark.parametrize("number", ["1", pytest.param("2", marks=pytest.mark.slow)])
async def test_prefetched_files_are_counted_as_used_or_unused(
    number: str, tmp_path: Path, upstream: Upstream, demo: Listed, place: Callable[[], Place]
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "other", "1.0"))
    more = {"WAYSTATION_WORKERS": number}
    async with running(tmp_path, "--upstream", upstream.url, **more) as server:
        (await place().install("uv", server.index, "demo")).succeeded()

        async def used() -> Shown:
            async with asyncio.timeout(30):  # requests of other workers are visible after 5 s
                while True:
                    shown = await metrics(server.address)
                    fetched = total(shown, "speculation", fate="fetched")
                    if fetched and total(shown, "speculation", fate="used") == fetched:
                        return shown
                    await asyncio.sleep(0.1)

        shown = await used()
    assert total(shown, "speculation", fate="wasted") == 0
    fetched = total(shown, "speculation_bytes", fate="fetched")
    assert fetched == total(shown, "speculation_bytes", fate="used") > 0


async def test_changed_files_that_were_refused_are_counted(
    tmp_path: Path, upstream: Upstream, demo: Listed
) -> None:
    brief = {"WAYSTATION_PAGE_TTL": "0.5", "WAYSTATION_SPECULATE": "off"}
    async with running(tmp_path, "--upstream", upstream.url, **brief) as server:
        client = MetricsClient(server)
        await client.get("/simple/demo/")
        upstream.add(make_wheel(tmp_path / "dist", "demo", "1.0", files={"evil.py": b"1"}))
        async with asyncio.timeout(20):
            while not total(await metrics(server.address), "changed_files", outcome="refused"):
                await client.get("/simple/demo/")
                await asyncio.sleep(0.1)


async def from_a_survivor(server: Running) -> Shown:
    """A connection that the kernel gives to a stopping worker is refused."""
    async with asyncio.timeout(20):
        while True:
            try:
                return await metrics(server.address)
            except aiohttp.ClientConnectionError:
                await asyncio.sleep(0)


@pytest.mark.slow
async def test_the_sum_over_workers_is_right_and_never_falls_when_one_is_killed(
    tmp_path: Path, upstream: Upstream, demo: Listed
) -> None:
    more = {"WAYSTATION_WORKERS": "3", "WAYSTATION_SPECULATE": "off"}
    async with running(tmp_path, "--upstream", upstream.url, **more) as server:
        await until(lambda: server.listening() == 3)
        client = MetricsClient(server)
        asked = 60
        for _ in range(asked):
            await client.get("/simple/demo/")
        await agreed(server, asked)
        for victim in sorted(server.workers()):
            before = counted(await metrics(server.address))
            os.kill(victim, signal.SIGKILL)
            await until(lambda victim=victim: victim not in server.workers())  # type: ignore[misc]
            assert counted(await from_a_survivor(server)) == before
            await until(lambda: server.listening() == 3)
            for _ in range(20):
                await client.get("/simple/demo/")
            asked += 20
            await agreed(server, asked)
        assert sum(logged_counts(server).values()) == asked
    async with running(tmp_path, "--upstream", upstream.url, **more) as server:
        assert total(await metrics(server.address), "requests", kind="page") == 0


@asynccontextmanager
async def watched(server: Running) -> AsyncIterator[list[float]]:
    """The number of requests for pages, read repeatedly."""
    seen: list[float] = []

    async def watch() -> None:
        while True:
            try:
                seen.append(total(await metrics(server.address), "requests", kind="page"))
            except aiohttp.ClientError:  # from the worker that was killed
                await asyncio.sleep(0)

    task = asyncio.create_task(watch())
    try:
        yield seen
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.slow
async def test_counters_never_fall_while_workers_are_killed(
    tmp_path: Path, upstream: Upstream, demo: Listed
) -> None:
    async with running(tmp_path, "--upstream", upstream.url, WAYSTATION_WORKERS="2") as server:
        await until(lambda: server.listening() == 2)
        client = MetricsClient(server)
        async with watched(server) as seen:
            for number in range(40):
                if number % 15 == 10:
                    os.kill(max(server.workers()), signal.SIGKILL)
                try:
                    await client.kept("/simple/demo/", 10)
                except aiohttp.ClientError:
                    continue
            await until(lambda: len(seen) > 20)
    assert seen == sorted(seen)
    assert seen[-1] > seen[0]


@pytest.mark.slow
async def test_an_upstream_that_is_down_is_seen_in_all_workers(
    tmp_path: Path, upstream: Upstream, demo: Listed
) -> None:
    more = {"WAYSTATION_WORKERS": "2", "WAYSTATION_RETRIES": "0", "WAYSTATION_SPECULATE": "off"}
    async with running(tmp_path, "--upstream", upstream.url, **more) as server:
        await until(lambda: server.listening() == 2)
        client = MetricsClient(server)
        await client.get("/simple/demo/")
        await upstream.stop()
        async with asyncio.timeout(30):
            while True:
                answer = await client.get(f"/simple/unknown-{os.urandom(4).hex()}/")
                assert answer.status in (502, 503)
                shown = await metrics(server.address)
                if total(shown, "upstream_requests", index="upstream", result="refused"):
                    break
        state = {
            dict(each)["index"]: value for each, value in shown["waystation_breaker_open"].items()
        }
        assert state["upstream"] == 1
        assert total(shown, "requests", index="main", kind="page", status="200") == 1
        assert total(shown, "upstream_requests", index="upstream", result="failed") >= 5
        assert shown["waystation_connections"][frozenset()] >= 1
        times = shown["waystation_upstream_seconds_count"]
        assert sum(times.values()) == total(shown, "upstream_requests")
        assert shown["process_resident_memory_bytes"][frozenset()] > 2 * 20_000_000
        async with aiohttp.ClientSession() as session:
            async with session.get(f"{server.address}/readyz") as plain:
                assert (plain.status, await plain.text()) == (200, "ready\n")
            async with session.get(f"{server.address}/readyz?verbose") as verbose:
                lines = (await verbose.text()).splitlines()
        assert verbose.status == 200
        assert lines[0] == "ready"
        assert "[ok]      settings: in force" in lines
        assert any(line.startswith("[ok]      cache: ") for line in lines)
        assert "waystation_reload_failed 0" in lines
