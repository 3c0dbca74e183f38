"""Answers given before their request is parsed are those that would be given after."""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.composition.proxy import Proxy, open_proxy
from proxy.config.settings import Settings
from proxy.events import AnswerServed, Event, Outcome, PageChanged, PageRevalidated, RequestKind
from proxy.indexes import CheckFile, Guarded
from proxy.maintenance import purge
from proxy.model import Artifact, ProjectName, ProjectStatus
from proxy.policies import Policy
from proxy.web.app import create_app
from proxy.web.fast_path import is_plain
from proxy.web.response_cache import (
    CACHEABLE,
    MAX_CHANGES,
    Cacheable,
    CachedResponse,
    ResponseCache,
)
from proxy.web.server import Server
from tests.support.clock import Clock
from tests.support.distributions import make_sdist, make_wheel
from tests.support.fake_index import FakeIndex
from tests.support.site import serving
from tests.support.sockets import connected
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

JSON = "application/vnd.pypi.simple.v1+json"
FORMS = (
    f"Accept: {JSON}\r\nAccept-Encoding: gzip\r\n",
    "Accept: text/html\r\nAccept-Encoding: gzip, deflate\r\nConnection: keep-alive\r\n",
    "Accept: */*\r\n",
    f"Accept: {JSON}\r\nCache-Control: max-age=0\r\n",
    f"Accept: {JSON}\r\nCache-Control: no-cache\r\n",
)
FOO = ProjectName("foo")
NOW = 1000.0
SERVED = AnswerServed(
    client="-", method="GET", path="/simple/foo/", kind=RequestKind.PAGE, status=200
)
PROJECTS = ("private", "public", "other", "nowhere")

RawReply = tuple[bytes, dict[bytes, bytes], bytes]
"""Status line, headers but for the date, body."""


class Wire:
    """One connection, one request at a time."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def ask(self, request: bytes) -> RawReply:
        self._writer.write(request)
        return await self.reply(head_only=request.startswith(b"HEAD"))

    async def reply(self, *, head_only: bool = False) -> RawReply:
        head = await self._reader.readuntil(b"\r\n\r\n")
        status, *lines = head[:-4].split(b"\r\n")
        headers = {}
        for line in lines:
            name, _, value = line.partition(b": ")
            headers[name] = value
        bodiless = head_only or b" 304 " in status
        size = 0 if bodiless else int(headers.get(b"Content-Length", b"0"))
        body = await self._reader.readexactly(size)
        assert re.match(rb"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", headers.pop(b"Date"))
        return status, headers, body


class World:
    """A running server with everything behind it, and ways to change what it serves."""

    def __init__(self, root: Path, upstream: Upstream, clock: Clock) -> None:
        self.packages = root / "packages"
        self.made = root / "made"
        self.upstream = upstream
        self.clock = clock
        self.hits = 0
        self.outcomes: list[object] = []
        """Of answers on the fast path."""
        self.rechecked: Counter[ProjectName | None] = Counter()
        """How often the page of a project was found to be the same, or another one."""
        self.proxy: Proxy
        self.port = 0

    def hit(self, response: CachedResponse, *about: object) -> None:
        self.hits += 1
        self.outcomes.append(response.served.outcome)

    def observe(self, event: Event) -> None:
        if isinstance(event, PageRevalidated | PageChanged):
            self.rechecked[event.project] += 1

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Wire]:
        async with connected(self.port) as streams:
            yield Wire(*streams)

    def request(self, path: str, form: str = FORMS[0], method: str = "GET") -> bytes:
        return f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\n{form}\r\n".encode()


@pytest.fixture
async def world(tmp_path: Path, clock: Clock) -> AsyncIterator[World]:
    async with open_world(tmp_path, clock) as found:
        yield found


@asynccontextmanager
async def open_world(
    tmp_path: Path, clock: Clock, grace: int = 0, policies: Sequence[Policy] = ()
) -> AsyncIterator[World]:
    """``grace``: seconds in which expired pages are answered at once. ``policies`` guard all."""
    (tmp_path / "packages").mkdir()
    async with AsyncExitStack() as stack:
        upstream = await stack.enter_async_context(Upstream())
        found = World(tmp_path, upstream, clock)
        make_wheel(found.packages, "private", "1.0")
        for name in ("private", "public", "other"):
            upstream.add(make_wheel(found.made, name, "1.0", requires=["private"]))
        settings = Settings(
            upstream=upstream.url,
            packages=found.packages,
            cache_dir=tmp_path / "cache",
            on_changed_file="accept",
            stale_while_revalidate=grace,
            speculate="off",
        )
        found.proxy = await stack.enter_async_context(open_proxy(settings, clock))
        cache = ResponseCache(poll=found.proxy.poll, recheck=found.proxy.revalidate, clock=clock)
        found.proxy.events.subscribe(cache.observe)
        found.proxy.events.subscribe(found.observe)
        app = create_app(
            {"": Guarded(found.proxy.index, policies, clock)},
            index_url=lambda: "",
            response_cache=cache,
            events=found.proxy.events,
            clock=clock,
        )
        server = Server(
            app, host="127.0.0.1", port=0, grace=0.1, response_cache=cache, on_hit=found.hit
        )
        await server.start()
        stack.push_async_callback(server.stop)
        found.port = server.port
        yield found


class Changes:
    """What may happen between two requests, by chance."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._number = 0

    async def one(self) -> None:
        await self._chance.choice([self.local, self.upstream, self.time, self.purge])()

    async def local(self) -> None:
        self._number += 1
        name = self._chance.choice(PROJECTS[:2])
        there = sorted(self._world.packages.glob("*.whl"))
        what = self._chance.randrange(4)
        if what == 0 or not there:
            make_wheel(self._world.packages, name, f"2.{self._number}")
        elif what == 1:
            self._chance.choice(there).unlink()
        elif what == 2:
            self._chance.choice(there).with_suffix(".whl.yanked").write_text(f"{self._number}")
        else:
            make_wheel(self._world.packages, "private", "1.0", files={f"m{self._number}.py": b""})

    async def upstream(self) -> None:
        self._number += 1
        name = self._chance.choice(PROJECTS[1:3])
        upstream = self._world.upstream
        what = self._chance.randrange(3)
        if what == 0:
            upstream.add(make_sdist(self._world.made, name, f"3.{self._number}"))
        elif what == 1:
            wheel = make_wheel(self._world.made, name, "1.0", files={f"m{self._number}.py": b""})
            upstream.add(wheel, yanked=self._chance.choice([False, "broken"]))
        elif len(upstream.shelf.files) > 2:
            upstream.remove(self._chance.choice(sorted(upstream.shelf.files)))

    async def time(self) -> None:
        self._world.clock.advance(self._chance.choice([0.3, 1, 5, 11, 61, 601]))

    async def purge(self) -> None:
        name = self._chance.choice(PROJECTS[1:])
        await purge(self._world.proxy.cache, [name])
        await self._world.proxy.forget(ProjectName(name))


class Requests:
    """What may be asked, by chance: pages, and files and conditions that were seen in answers."""

    def __init__(self, world: World, chance: random.Random) -> None:
        self._world = world
        self._chance = chance
        self._files: list[str] = []
        self._tags: list[str] = ['"unknown"']

    def one(self) -> bytes:
        method = self._chance.choices(["GET", "HEAD"], [9, 1])[0]
        form = self._chance.choice(FORMS)
        if self._chance.random() < 0.4:
            form += f"If-None-Match: {self._chance.choice(self._tags[-4:])}\r\n"
        if self._files and self._chance.random() < 0.4:
            path = self._chance.choice(self._files[-6:])
            path += self._chance.choice(["", ".metadata"])
        else:
            path = f"/simple/{self._chance.choice(PROJECTS)}/"
        return self._world.request(path, form, method)

    def learn(self, reply: RawReply) -> None:
        _, headers, body = reply
        if tag := headers.get(b"ETag"):
            self._tags.append(tag.decode())
        for link in re.findall(rb"\.\./\.\.(/files/[^\"#]+)", body):
            if link.decode() not in self._files:
                self._files.append(link.decode())


@pytest.mark.parametrize("grace", [0, 90])
@pytest.mark.parametrize("seed", range(6))
async def test_in_any_order_of_events_fast_answers_are_what_slow_ones_would_be(
    tmp_path: Path, clock: Clock, seed: int, grace: int
) -> None:
    async with open_world(tmp_path, clock, grace) as world:
        await compare(world, random.Random(seed))


async def compare(world: World, chance: random.Random) -> None:
    changes, requests = Changes(world, chance), Requests(world, chance)
    count = itertools.count()
    async with world.connection() as fast, world.connection() as slow:
        for _ in range(150):
            if chance.random() < 0.15:
                await changes.one()
            request = requests.one()

            def unique(request: bytes = request) -> bytes:
                return request[:-2] + b"X-Number: %d\r\n\r\n" % next(count)

            for _ in range(chance.randrange(1, 4)):
                answer = await same_answers(world, fast, slow, request, unique)
            requests.learn(answer)
    assert world.hits > 20


async def same_answers(
    world: World, fast: Wire, slow: Wire, request: bytes, unique: Callable[[], bytes]
) -> RawReply:
    """They may differ only if the page was rechecked in between: then both are asked again."""
    project = ProjectName(request.split(b"/")[2].decode())
    while True:
        rechecked = world.rechecked[project]
        answer, expected = await fast.ask(request), await slow.ask(unique())
        if b"hit" not in answer[1].get(b"Cache-Status", b""):  # but the second one may be a hit
            for _, headers, _ in (answer, expected):
                headers.pop(b"Cache-Status", None)
        if answer == expected:
            return answer
        assert world.rechecked[project] > rechecked, (answer, expected)


async def warm(world: World, wire: Wire, request: bytes) -> RawReply:
    """The answer that is given before parsing from now on."""
    await wire.ask(request)
    before = world.hits
    reply = await wire.ask(request)
    assert world.hits == before + 1
    return reply


async def test_pages_files_and_conditions_are_answered_fast(world: World) -> None:
    async with world.connection() as wire:
        page = await warm(world, wire, world.request("/simple/public/", FORMS[2]))
        path = re.findall(rb"\.\./\.\.(/files/[^\"#]+)", page[2])[0].decode()
        for asked in (path, path + ".metadata"):
            before = world.hits
            async with asyncio.timeout(20):
                while world.hits == before:  # it is stored behind the first answer
                    reply = await wire.ask(world.request(asked, FORMS[2]))
            assert reply[0].endswith(b"200 OK")
        condition = f"{FORMS[2]}If-None-Match: {page[1][b'ETag'].decode()}\r\n"
        request = world.request("/simple/public/", condition)
        assert b" 304 " in (await warm(world, wire, request))[0]


async def test_an_expired_page_is_answered_fast_and_revalidated_in_the_background(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_world(tmp_path, clock, grace=90) as world, world.connection() as wire:
        request = world.request("/simple/public/")
        fresh = await warm(world, wire, request)
        assert fresh[1][b"Cache-Control"] == b"max-age=600"
        clock.advance(601)
        before = world.hits
        stale = await wire.ask(request)
        assert (stale[1][b"Cache-Control"], stale[2]) == (b"no-cache, max-age=0", fresh[2])
        assert world.outcomes[-1] == "stale"
        async with asyncio.timeout(20):
            while world.outcomes[-1] == "stale":  # until upstream has revalidated the page
                again = await wire.ask(request)
        assert again == fresh
        assert world.outcomes[-1:] == ["hit"]
        asked = world.upstream.count("/simple/public/")
        assert (world.hits - before, asked) == (len(world.outcomes) - 1, 2)


@pytest.mark.parametrize("form", [FORMS[1], FORMS[3]], ids=["HTML", "max-age=0"])
async def test_an_old_pip_gets_a_page_fast_and_revalidated_in_the_background(
    tmp_path: Path, clock: Clock, form: str
) -> None:
    async with open_world(tmp_path, clock, grace=90) as world, world.connection() as wire:
        request = world.request("/simple/public/", form)
        fresh = await warm(world, wire, request)
        clock.advance(599)
        assert (await wire.ask(request))[2] == fresh[2]
        assert (world.outcomes[-1], world.upstream.count("/simple/public/")) == ("hit", 1)
        clock.advance(2)
        assert (await wire.ask(request))[2] == fresh[2]
        assert world.outcomes[-1] == "stale"
        await until(lambda: world.upstream.count("/simple/public/") == 2)


async def test_a_client_that_refreshes_never_gets_an_older_page_fast(
    tmp_path: Path, clock: Clock
) -> None:
    async with open_world(tmp_path, clock, grace=90) as world, world.connection() as wire:
        request = world.request("/simple/public/", FORMS[4])
        await warm(world, wire, request)
        clock.advance(2)
        before = world.hits
        await wire.ask(request)
        assert (world.hits, world.upstream.count("/simple/public/")) == (before, 2)


async def test_past_its_grace_a_page_is_not_answered_fast(tmp_path: Path, clock: Clock) -> None:
    async with open_world(tmp_path, clock, grace=90) as world, world.connection() as wire:
        request = world.request("/simple/public/")
        fresh = await warm(world, wire, request)
        clock.advance(600 + 91)
        before = world.hits
        _, headers, body = await wire.ask(request)
        assert headers.pop(b"Cache-Status") == b"waystation; fwd=stale; fwd-status=304"
        assert headers.items() < fresh[1].items()
        assert body == fresh[2]
        assert world.hits == before


async def test_an_answer_whose_page_changed_while_it_was_made_is_not_kept() -> None:
    stock, cache = FakeIndex(), ResponseCache()
    stock.events.subscribe(cache.observe)
    stock.page_of("foo")
    for changed in (False, True):
        answer = marked(cache)
        if changed:
            stock.describe("foo", status=ProjectStatus("archived"))
        cache.keep(b"request", answer, SERVED)
        assert (cache.find(b"request", NOW) is None) is changed


def marked(cache: ResponseCache, **more: Any) -> web.Response:
    answer = web.Response(body=b"of this page", headers={"Cache-Control": ""})
    answer[CACHEABLE] = Cacheable("main", FOO, Outcome.HIT, cache.changes(FOO), **more)
    return answer


def revalidated(fresh_until: float, source: str = "upstream") -> PageRevalidated:
    return PageRevalidated(FOO, source, fresh_until, fresh_until, NOW)


def test_no_state_of_a_page_has_the_number_of_an_earlier_one() -> None:
    """However many other pages change in between, or all pages at once."""
    cache = ResponseCache()
    numbers = [cache.changes(FOO)]
    others = [PageChanged(ProjectName(f"other-{number}")) for number in range(MAX_CHANGES + 1)]
    for events in ([PageChanged(FOO)], others, [PageChanged(FOO)], [PageChanged(None)]):
        for event in events:
            cache.observe(event)
        numbers.append(cache.changes(FOO))
    assert len(set(numbers)) == len(numbers)


def test_revalidating_a_page_renews_answers_from_that_page_only() -> None:
    cache = ResponseCache(clock=lambda: NOW)
    cache.keep(b"x", marked(cache, times=revalidated(1060)), SERVED)
    found = cache.find(b"x", NOW)
    assert found
    for source, left in (("another", 60), ("upstream", 600)):
        cache.observe(revalidated(1600, source))
        assert f"max-age={left}".encode() in found.head(NOW)


def test_times_that_changed_while_an_answer_was_made_are_not_forgotten() -> None:
    cache = ResponseCache(clock=lambda: NOW)
    answer = marked(cache, times=revalidated(1600))
    cache.observe(revalidated(1000))
    cache.keep(b"x", answer, SERVED)
    assert cache.find(b"x", NOW) is None


def keep(cache: ResponseCache, request: bytes, project: ProjectName = FOO) -> None:
    """A response of twelve bytes."""
    answer = web.Response(body=b"of this page")
    answer[CACHEABLE] = Cacheable("main", project, Outcome.HIT, cache.changes(project))
    cache.keep(request, answer, SERVED)


def test_the_oldest_responses_go_when_the_budget_of_bytes_is_spent() -> None:
    cache = ResponseCache(budget=30)
    for request in (b"1", b"2", b"3"):
        keep(cache, request)
    assert [bool(cache.find(request, NOW)) for request in (b"1", b"2", b"3")] == [False, True, True]
    keep(cache, b"2")  # the same request again takes no more room
    assert [bool(cache.find(request, NOW)) for request in (b"2", b"3")] == [True, True]


def test_the_oldest_responses_go_when_there_are_too_many() -> None:
    cache = ResponseCache(entries=2)
    for request in (b"1", b"2", b"3"):
        keep(cache, request)
    assert [bool(cache.find(request, NOW)) for request in (b"1", b"2", b"3")] == [False, True, True]


def test_a_response_larger_than_the_budget_is_not_kept() -> None:
    cache = ResponseCache(budget=11)
    keep(cache, b"1")
    assert cache.find(b"1", NOW) is None


def test_when_any_page_may_have_changed_every_response_goes_and_room_is_free_again() -> None:
    cache = ResponseCache(budget=24)
    bar = ProjectName("bar")
    answer = marked(cache)
    keep(cache, b"1")
    keep(cache, b"2", bar)
    cache.observe(PageChanged(None))
    assert (cache.find(b"1", NOW), cache.find(b"2", NOW)) == (None, None)
    cache.keep(b"3", answer, SERVED)  # was being made when the pages changed
    assert cache.find(b"3", NOW) is None
    keep(cache, b"1")
    keep(cache, b"2", bar)
    assert cache.find(b"1", NOW)
    assert cache.find(b"2", NOW)
    cache.observe(PageChanged(bar))
    assert (bool(cache.find(b"1", NOW)), cache.find(b"2", NOW)) == (True, None)


class Fetching(FakeIndex):
    """Its page changes while a file of it is fetched."""

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        found = await super().file(project, filename, digest, check)
        self.page_of(project)
        return found


async def test_a_file_that_vanished_while_it_was_fetched_is_not_given_again() -> None:
    stock = Fetching()
    file = stock.add("foo", "foo-1.0.zip", b"bytes")
    async with serving(stock, fast=True) as site:
        path = f"/files/foo/{file.sha256}/foo-1.0.zip"
        statuses = [(await site.get(path)).status for _ in range(3)]
    assert statuses == [200, 404, 404]


async def test_a_page_without_files_that_becomes_quarantined_is_another(world: World) -> None:
    world.upstream.page_keys["empty"] = {}
    request = world.request("/simple/empty/", FORMS[2])
    async with world.connection() as wire:
        await warm(world, wire, request)
        status = {"status": "quarantined", "reason": "malware"}
        world.upstream.page_keys["empty"] = {"project-status": status}
        world.clock.advance(601)
        await wire.ask(world.request("/simple/empty/", FORMS[2] + "X-Another: 1\r\n"))
        assert b"quarantined" in (await wire.ask(request))[2]


async def test_an_answer_is_kept_for_its_own_request_however_soon_the_next_one_comes(
    world: World,
) -> None:
    known, absent = world.request("/simple/private/"), world.request("/simple/nowhere/")
    for _ in range(20):
        async with connected(world.port) as (reader, writer):
            writer.write(known)
            await asyncio.sleep(0)
            writer.write(absent)
            wire = Wire(reader, writer)
            assert (await wire.reply())[0].endswith(b"200 OK")
            assert b" 404 " in (await wire.reply())[0]
        async with world.connection() as wire:
            assert b" 404 " in (await wire.ask(absent))[0]


async def test_requests_split_anywhere_get_the_same_answer(world: World) -> None:
    request = world.request("/simple/private/")
    async with world.connection() as wire:
        expected = await warm(world, wire, request)
    for at in range(1, len(request), 7):
        async with connected(world.port) as (reader, writer):
            writer.write(request[:at])
            await asyncio.sleep(0)
            writer.write(request[at:])
            assert await Wire(reader, writer).reply() == expected


async def test_pipelined_requests_are_answered_in_their_order(world: World) -> None:
    known, new = world.request("/simple/private/"), world.request("/simple/public/")
    async with world.connection() as wire:
        expected = await warm(world, wire, known)
    async with connected(world.port) as (reader, writer):
        writer.write(new + known + known + new)
        wire = Wire(reader, writer)
        replies = [await wire.reply() for _ in range(4)]
    assert replies[1] == replies[2] == expected
    assert replies[0][2] == replies[3][2] != expected[2]


async def test_a_known_request_waits_for_one_that_is_being_answered(world: World) -> None:
    known, slow = world.request("/simple/private/"), world.request("/simple/public/")
    async with world.connection() as wire:
        expected = await warm(world, wire, known)
    async with connected(world.port) as (reader, writer):
        wire = Wire(reader, writer)
        writer.write(slow)
        await asyncio.sleep(0)
        writer.write(known)
        first, second = await wire.reply(), await wire.reply()
    assert b'"public"' in first[2] or first[1][b"Content-Encoding"] == b"gzip"
    assert (first != expected, second) == (True, expected)


async def test_after_anything_but_a_plain_request_a_connection_stays_with_the_parser(
    world: World,
) -> None:
    known = world.request("/simple/private/")
    odd = world.request("/simple/private/", FORMS[0] + "Content-Length: 0\r\n")
    async with world.connection() as wire:
        expected = await warm(world, wire, known)
        before = world.hits
        assert await wire.ask(odd) == expected
        assert await wire.ask(known) == expected
        assert world.hits == before


async def test_connection_close_is_obeyed(world: World) -> None:
    closing = world.request("/simple/private/", FORMS[2] + "Connection: close\r\n")
    for _ in range(2):
        async with connected(world.port) as (reader, writer):
            writer.write(closing)
            assert b"\r\nConnection: close\r\n" in await reader.read()
    assert world.hits == 0


async def test_a_slow_reader_of_a_large_page_gets_all_of_it(world: World) -> None:
    wheels = [f"huge-1.{number}-py3-none-any.whl" for number in range(3_000)]
    files = [{"filename": name, "url": name, "hashes": {}} for name in wheels]
    page = {"meta": {"api-version": "1.0"}, "name": "huge", "files": files}
    world.upstream.fault("/simple/huge/", Fault(200, json.dumps(page).encode(), JSON))
    request = world.request("/simple/huge/", FORMS[2])
    async with world.connection() as wire:
        expected = await warm(world, wire, request)
    async with connected(world.port) as (reader, writer):
        for _ in range(8):
            writer.write(request)
        wire = Wire(reader, writer)
        for _ in range(8):
            assert await wire.reply() == expected


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", True),
        (b"HEAD /simple/ HTTP/1.1\r\nhost: x\r\ncOnNection: Keep-Alive\r\n\r\n", True),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, close\r\n\r\n", False),
        (b"GET / HTTP/1.0\r\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\ncontent-length : 3\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n\r\n", False),
        (b"GET / HTTP/1.1\nHost: x\r\n\r\n", False),
        (b"GET / HTTP/1.1\r\nHost: x\r\n", False),
        (b"POST / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"\r\nGET / HTTP/1.1\r\nHost: x\r\n\r\n", False),
        (b"GET http://x/ HTTP/1.1\r\nHost: x\r\n\r\n", False),
    ],
)
def test_what_counts_as_one_plain_request(data: bytes, expected: bool) -> None:
    assert is_plain(data) is expected
