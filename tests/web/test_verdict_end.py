"""No answer is sent after the instant at which a policy's verdict on it may change."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from proxy.events import Event, PageRevalidated
from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.fake_index import FakeIndex
from tests.support.policies import Cooldown, Exempt, upload_time
from tests.support.site import serving
from tests.support.waiting import until
from tests.web.test_fast_path import FORMS, open_world, warm

FOO = ProjectName("foo")


async def test_a_file_appears_when_it_matures_however_often_its_page_was_revalidated(
    tmp_path: Path, clock: Clock
) -> None:
    start = clock()
    policy = Cooldown(3_000)
    async with open_world(tmp_path, clock, grace=90, policies=[policy]) as world:
        for version, uploaded in (("1.0", start - 9_000), ("2.0", start)):
            wheel = make_wheel(world.made, "young", version)
            world.upstream.add(wheel, uploaded=upload_time(uploaded))
        revalidated: list[Event] = []
        world.proxy.events.subscribe(
            lambda event: revalidated.append(event) if isinstance(event, PageRevalidated) else None
        )
        request = world.request("/simple/young/", FORMS[2])
        async with world.connection() as wire:
            former = await warm(world, wire, request)
            for _ in range(4):  # the page lives 600 seconds
                clock.advance(610)
                revalidated.clear()
                assert (await wire.ask(request))[2] == former[2]
                await until(lambda: bool(revalidated))
            clock.now = start + 2_999
            before = world.hits
            last = await wire.ask(request)
            assert (world.hits, last[2]) == (before + 1, former[2])
            assert last[1][b"Cache-Control"] == b"max-age=1"
            clock.now = start + 3_000
            assert b"young-2.0" in (await wire.ask(request))[2]
    assert b"young-2.0" not in former[2]


async def test_a_small_file_is_refused_from_the_instant_at_which_its_approval_ends(
    tmp_path: Path, clock: Clock
) -> None:
    policy = Exempt(clock() + 100)
    async with (
        open_world(tmp_path, clock, policies=[policy]) as world,
        world.connection() as wire,
    ):
        page = await wire.ask(world.request("/simple/private/", FORMS[2]))
        path = re.findall(rb"\.\./\.\.(/files/[^\"#]+)", page[2])[0].decode()
        request = world.request(path, FORMS[2])
        assert (await warm(world, wire, request))[0].endswith(b"200 OK")
        clock.advance(99)
        before = world.hits
        assert (await wire.ask(request))[0].endswith(b"200 OK")
        assert world.hits == before + 1
        clock.advance(1)
        assert b" 403 " in (await wire.ask(request))[0]


@pytest.mark.parametrize("lifetime", [None, 10.0, 600.0])
async def test_a_cached_page_ends_with_its_verdict_also_after_a_revalidation(
    clock: Clock, lifetime: float | None
) -> None:
    index, start = FakeIndex(), clock()
    ends = None if lifetime is None else start + lifetime
    index.page_of("foo", fresh_until=ends, checked=start, not_after=start + 300)
    async with serving(index, fast=True, clock=clock) as site:
        await site.get("/simple/foo/")
        if lifetime is not None:
            index.events(PageRevalidated(FOO, "stock", start + 9_000, start + 9_000, start))
        asked = len(index.asked)
        clock.advance(299)
        answer = await site.get("/simple/foo/")
        assert len(index.asked) == asked
        control = "no-cache" if lifetime is None else "max-age=1"
        assert answer.headers["Cache-Control"] == control
        clock.advance(1)
        await site.get("/simple/foo/")
        assert len(index.asked) == asked + 1
