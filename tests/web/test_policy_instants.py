"""No answer outlives the instant at which a policy's verdict changes, however it is revalidated."""

from __future__ import annotations

import gzip
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
from tests.web.test_fast_path import FORMS, World, open_world, warm

FOO = ProjectName("foo")
NAME = b"young-1.0-py3-none-any.whl"
MATURES = 1000.0
"""Seconds after the start of a test."""


def upload(world: World) -> None:
    wheel = make_wheel(world.made, "young", "1.0")
    world.upstream.add(wheel, uploaded=upload_time(world.clock()))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("grace", [0, 300])
async def test_a_file_is_shown_once_it_matures_to_a_client_that_repeats_its_bytes(
    tmp_path: Path, clock: Clock, form: str, grace: int
) -> None:
    start = clock()
    async with open_world(tmp_path, clock, grace, [Cooldown(MATURES)]) as world:
        upload(world)
        request = world.request("/simple/young/", form)
        async with world.connection() as wire:
            for elapsed in (0, 0, 599, 601, 601, 900, 999):  # revalidated at 601
                asked = world.upstream.count("/simple/young/")
                clock.now = start + elapsed
                status, headers, body = await wire.ask(request)
                assert status.endswith(b"200 OK")
                assert NAME not in plain(headers, body)
                assert max_age(headers) <= MATURES - elapsed
                if grace and elapsed == 601 and asked == 1:  # in the background
                    await until(lambda: world.upstream.count("/simple/young/") == 2)
                    await world.proxy.close()
            assert world.hits
            clock.now = start + MATURES
            _, headers, body = await wire.ask(request)
            assert NAME in plain(headers, body)
            _, headers, body = await wire.ask(request)
            assert NAME in plain(headers, body)


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


def plain(headers: dict[bytes, bytes], body: bytes) -> bytes:
    return gzip.decompress(body) if b"Content-Encoding" in headers else body


def max_age(headers: dict[bytes, bytes]) -> int:
    found = re.search(rb"max-age=(\d+)", headers[b"Cache-Control"])
    return int(found.group(1)) if found else 0


async def test_a_file_whose_exemption_ends_is_refused_to_a_client_that_repeats_its_bytes(
    tmp_path: Path, clock: Clock
) -> None:
    start = clock()
    async with open_world(tmp_path, clock, 0, [Exempt(start + 100)]) as world:
        upload(world)
        page = await world.proxy.index.page(ProjectName("young"))
        (file,) = page.files
        paths = [
            f"/files/young/{file.sha256}/{file.filename}{suffix}" for suffix in ("", ".metadata")
        ]
        (private,) = (await world.proxy.index.page(ProjectName("private"))).files
        paths.append(f"/files/private/{private.sha256}/{private.filename}")
        async with world.connection() as wire:
            for path in paths:
                for elapsed in (0, 50, 99):
                    clock.now = start + elapsed
                    assert (await wire.ask(world.request(path)))[0].endswith(b"200 OK")
            assert world.hits
            clock.now = start + 100
            for path in (*paths, *paths):
                assert b" 403 " in (await wire.ask(world.request(path)))[0]


async def test_a_local_page_changes_when_an_exemption_ends(tmp_path: Path, clock: Clock) -> None:
    start = clock()
    async with open_world(tmp_path, clock, 0, [Exempt(start + 100)]) as world:
        request = world.request("/simple/private/", FORMS[0])
        async with world.connection() as wire:
            for elapsed, listed in ((0, True), (99, True), (100, False), (101, False)):
                clock.now = start + elapsed
                _, headers, body = await wire.ask(request)
                assert (b"private-1.0" in plain(headers, body)) is listed
            assert world.hits


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
