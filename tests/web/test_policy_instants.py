"""No answer outlives the instant at which a policy's verdict changes, however it is revalidated."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest

from proxy.model import ProjectName
from tests.support.clock import Clock
from tests.support.distributions import make_wheel
from tests.support.policies import Cooldown, Exempt, upload_time
from tests.support.waiting import until
from tests.web.test_fast_path import FORMS, World, open_world

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
