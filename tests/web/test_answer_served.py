"""The event of an answer names the client and the file, on the fast path as in the handlers."""

from __future__ import annotations

import asyncio
from itertools import pairwise

import msgspec
import pytest
from aiohttp import web

from proxy.errors import Denied
from proxy.events import (
    AnswerServed,
    Event,
    Events,
    FileServed,
    Outcome,
    PageRefused,
    RequestKind,
)
from proxy.model import ProjectName
from proxy.web.fast_path_events import MAX_EVENTS, MAX_HITS, FastPathEvents
from proxy.web.response_cache import Cacheable, CachedResponse
from tests.support.fake_index import FakeIndex
from tests.support.site import serving

FOO = ProjectName("foo")
SERVED = AnswerServed(
    client="-", method="GET", path="/simple/foo/", kind=RequestKind.PAGE, status=200
)
SDIST = "foo-1.0.tar.gz"
HEADERS = {"User-Agent": "pip/26.3", "X-Forwarded-For": "203.0.113.9"}


class AnswerListener:
    def __init__(self) -> None:
        self.served: list[AnswerServed] = []

    def __call__(self, event: Event) -> None:
        if isinstance(event, AnswerServed):
            self.served.append(event)


async def test_both_paths_send_the_same_event(stock: FakeIndex) -> None:
    digest = stock.add("foo", SDIST, b"bytes").address_digest
    path, heard = f"/files/foo/{digest}/{SDIST}", AnswerListener()
    fast = FastPathEvents(heard)
    async with (
        serving(stock, fast=True, observers=[heard], on_hit=fast.hit) as site,
        fast.running(),
    ):
        for _ in range(3):
            await site.get(path + "?token=secret", headers=HEADERS)
    parsed, cached = heard.served
    assert (parsed.client, parsed.user_agent, parsed.principal) == ("127.0.0.1", "pip/26.3", None)
    assert (parsed.index, parsed.project, parsed.filename) == ("stock", "foo", SDIST)
    assert (parsed.digest, parsed.path, parsed.kind) == (digest, path, RequestKind.FILE)
    assert (parsed.status, parsed.outcome, parsed.sent) == (200, Outcome.HIT, 5)
    assert (len(parsed.timings), len(cached.timings)) == (1, 2)
    assert msgspec.structs.replace(cached, cached=False, timings=parsed.timings) == parsed


async def test_observers_of_files_and_refusals_get_no_other_answers(stock: FakeIndex) -> None:
    digest = stock.add("foo", SDIST, b"bytes").address_digest
    heard, special = AnswerListener(), AnswerListener()
    events = Events(heard)
    events.subscribe(special, FileServed, PageRefused)
    async with serving(stock, observers=[events]) as site:
        await site.get("/simple/foo/")
        await site.get(f"/files/foo/{digest}/{SDIST}")
        stock.error = Denied("foo", "it is too new", "cooldown")
        await site.get("/simple/foo/")
    assert [event.path for event in heard.served][1:] == [event.path for event in special.served]
    assert [type(event) for event in special.served] == [FileServed, PageRefused]


async def test_events_of_the_fast_path_come_when_there_are_many_or_a_moment_later(
    stock: FakeIndex,
) -> None:
    digest = stock.add("foo", SDIST, b"bytes").address_digest
    path, heard = f"/files/foo/{digest}/{SDIST}", AnswerListener()
    fast = FastPathEvents(heard)
    async with serving(stock, fast=True, on_hit=fast.hit) as site:
        for _ in range(1 + MAX_HITS + 1):
            await site.get(path)
        async with asyncio.timeout(20):
            while sum(len(event.timings) for event in heard.served) < MAX_HITS + 1:
                await asyncio.sleep(0.01)
    assert max(len(event.timings) for event in heard.served) <= MAX_HITS


async def test_events_that_are_due_are_emitted_a_few_in_each_turn_of_the_loop() -> None:
    heard = AnswerListener()
    fast = FastPathEvents(heard)
    response = CachedResponse(
        web.Response(body=b"page"), Cacheable("main", FOO, Outcome.HIT, 0), SERVED
    )
    clients = [f"192.0.2.{number}" for number in range(MAX_EVENTS + 1)]
    async with fast.running():
        for client in clients:
            fast.hit(response, client, 1.0, 2.0)
        emitted = [0]
        while emitted[-1] < MAX_EVENTS:
            await asyncio.sleep(0)
            emitted.append(len(heard.served))
        assert max(after - before for before, after in pairwise(emitted)) <= MAX_EVENTS // 4
    assert [event.client for event in heard.served] == clients


async def test_answers_of_different_clients_are_different_events() -> None:
    heard = AnswerListener()
    fast = FastPathEvents(heard)
    response = CachedResponse(
        web.Response(body=b"page"), Cacheable("main", FOO, Outcome.HIT, 0), SERVED
    )
    async with fast.running():
        for client, started in (("192.0.2.1", 1.0), ("192.0.2.2", 2.0), ("192.0.2.1", 3.0)):
            fast.hit(response, client, started, started + 0.5)
        fast.hit(response, "192.0.2.3", 5.0, 4.0)  # the clock was set back
    assert {event.client: event.timings for event in heard.served} == {
        "192.0.2.1": ((1.5, 500.0), (3.5, 500.0)),
        "192.0.2.2": ((2.5, 500.0),),
        "192.0.2.3": ((4.0, 0.0),),
    }


@pytest.mark.parametrize("path", ["/simple/foo/", f"/files/foo/{'0' * 64}/{SDIST}"])
async def test_a_refusal_names_its_rule_and_reason(stock: FakeIndex, path: str) -> None:
    stock.error, heard = Denied("foo", "it is too new", "cooldown"), AnswerListener()
    async with serving(stock, observers=[heard]) as site:
        await site.get(path)
    (event,) = heard.served
    assert (event.status, event.rule, event.project) == (403, "cooldown", "foo")
    assert "it is too new" in event.reason


async def test_a_request_that_cannot_be_parsed_has_an_event(stock: FakeIndex) -> None:
    heard = AnswerListener()
    async with serving(stock, observers=[heard]) as site:
        await site.raw(b"not HTTP\r\n\r\n")
    (event,) = heard.served
    assert (event.status, event.kind, event.index) == (400, RequestKind.OTHER, "")
    assert event.failure
