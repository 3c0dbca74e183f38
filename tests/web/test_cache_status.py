"""``Cache-Status`` (RFC 9211) says where an answer came from, on both paths alike."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.waiting import until
from tests.web.test_fast_path import FORMS, World, open_world


async def statuses(world: World, path: str, form: str, times: int = 3) -> list[str]:
    request = world.request(path, form)
    async with world.connection() as wire:
        answers = [await wire.ask(request) for _ in range(times)]
    return [headers[b"Cache-Status"].decode() for _, headers, _ in answers]


@pytest.mark.parametrize("form", [form for form in FORMS if "no-cache" not in form])
async def test_pages_say_whether_they_were_fetched_cached_or_stale(
    tmp_path: Path, clock: Clock, form: str
) -> None:
    async with open_world(tmp_path, clock, 300) as world:
        world.upstream.add(make_wheel(world.made, "flask", "1.0"))
        missed, *repeated = await statuses(world, "/simple/flask/", form)
        assert missed == "waystation; fwd=miss"
        assert repeated == ["waystation; hit"] * 2
        clock.now += 601
        stale, *_ = await statuses(world, "/simple/flask/", form, 1)
        assert stale == "waystation; hit; detail=stale"
        await until(lambda: world.upstream.count("/simple/flask/") == 2)
        await world.proxy.close()
        assert await statuses(world, "/simple/flask/", form) == ["waystation; hit"] * 3
        assert world.hits


async def test_a_page_that_upstream_confirms_was_forwarded(tmp_path: Path, clock: Clock) -> None:
    async with open_world(tmp_path, clock, 0) as world:
        world.upstream.add(make_wheel(world.made, "flask", "1.0"))
        await statuses(world, "/simple/flask/", "", 1)
        clock.now += 601
        revalidated, repeated = await statuses(world, "/simple/flask/", "", 2)
        assert revalidated == "waystation; fwd=stale; fwd-status=304"
        assert repeated == "waystation; hit"


async def test_private_projects_are_local(tmp_path: Path, clock: Clock) -> None:
    async with open_world(tmp_path, clock, 0) as world:
        local = ["waystation; hit; detail=local"] * 3
        assert await statuses(world, "/simple/private/", "") == local
        assert world.hits


async def test_an_error_has_no_cache_status(tmp_path: Path, clock: Clock) -> None:
    async with open_world(tmp_path, clock, 0) as world, world.connection() as wire:
        status, headers, _ = await wire.ask(world.request("/simple/absent/", ""))
        assert b"404" in status
        assert b"Cache-Status" not in headers
