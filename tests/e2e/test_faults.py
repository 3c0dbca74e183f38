"""Installers when upstream fails: they end with an error, or continue."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place
from tests.support.running import Running, running
from tests.support.upstream import Fault, Upstream
from tests.support.waiting import until

pytestmark = pytest.mark.slow

New = Callable[[], Place]
QUICK = {"WAYSTATION_RETRIES": "0", "WAYSTATION_PAGE_TIMEOUT": "2", "WAYSTATION_SOFT_DEADLINE": "1"}

FAULTS = {
    "page: 500": ("/simple/", Fault(status=500), 502),
    "page: 429": ("/simple/", Fault(status=429, headers={"Retry-After": "7"}), 502),
    "page: 403": ("/simple/", Fault(status=403), 502),
    "page: login": ("/simple/", Fault(body=b"<html>Please sign in</html>"), 502),
    "page: hanging": ("/simple/", Fault(hang=True), 504),
    "page: reset": ("/simple/", Fault(reset=True), 502),
    "file: 500": (".whl", Fault(status=500), 502),
    "file: wrong bytes": (".whl", Fault(corrupt=True), 200),
    "file: cut short": (".whl", Fault(truncate=150_000, ranges=False), 200),
    "file: reset": (".whl", Fault(reset=True), 502),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_failing_upstream_fails_the_install_and_heals(
    tmp_path: Path, upstream: Upstream, place: New, fault: str
) -> None:
    wheel = make_wheel(tmp_path / "dist", "foo", "1.0", padding=300_000)
    upstream.add(wheel, metadata=False)
    pattern, failure, status = FAULTS[fault]
    upstream.fault(pattern, failure)
    async with running(tmp_path, "--upstream", upstream.url, **QUICK) as server:
        there = place()
        for tool in ("pip", "uv"):
            assert (await there.install(tool, server.index, "foo")).status != 0
            assert there.installed() == {}
        # No answer has begun where the break is noticed before the first bytes are read.
        expected = {status, 502} if fault == "file: cut short" else {status}
        await server.logged(lambda line: failed(line) and line["status"] in expected)
        assert list((tmp_path / "cache" / "blob").glob("??/*")) == []

        upstream.heal()
        await until(partial(reachable, server), 60)  # the breaker lets a request through again
        (await there.install("uv", server.index, "foo")).succeeded()
        assert there.installed() == {"foo": "1.0"}
    assert 404 not in {each["status"] for each in server.requests()}


async def reachable(server: Running) -> bool:
    async with (
        aiohttp.ClientSession() as client,
        client.get(f"{server.index}foo/", headers={"Cache-Control": "no-cache"}) as answer,
    ):
        return answer.status == 200


def failed(line: dict[str, Any]) -> bool:
    return line["message"] == "request" and (line["status"] in (502, 504) or "trouble" in line)


async def test_an_upstream_that_is_down_fails_the_install(
    tmp_path: Path, upstream: Upstream, place: New, tool: str
) -> None:
    await upstream.stop()
    async with running(tmp_path, "--upstream", upstream.url, **QUICK) as server:
        assert (await place().install(tool, server.index, "foo")).status != 0
    statuses = [each["status"] for each in server.requests() if "/foo/" in each["path"]]
    assert statuses and set(statuses) == {502}


@pytest.mark.parametrize(
    "fault",
    [Fault(hang=True), Fault(status=500), Fault(status=429), Fault(reset=True)],
    ids=["hanging", "500", "429", "reset"],
)
async def test_a_stored_page_is_served_while_upstream_fails(
    tmp_path: Path, upstream: Upstream, chain: dict[str, str], place: New, fault: Fault
) -> None:
    given = ("--upstream", upstream.url, "--page-ttl", "0")
    async with running(tmp_path, *given, **QUICK) as server:
        (await place().install("uv", server.index, "aaa")).succeeded()
        upstream.fault("/simple/", fault)
        for tool in ("pip", "uv"):
            there = place()
            (await there.install(tool, server.index, "aaa")).succeeded()
            assert there.installed() == chain
    assert "stale" in {each["outcome"] for each in server.requests()}


async def test_a_broken_download_is_resumed_without_the_client_noticing(
    tmp_path: Path, upstream: Upstream, place: New
) -> None:
    upstream.add(make_wheel(tmp_path / "dist", "foo", "1.0", padding=3_000_000), metadata=False)
    upstream.fault(".whl", Fault(truncate=1_000_000), times=1)
    async with running(tmp_path, "--upstream", upstream.url) as server:
        there = place()
        (await there.install("pip", server.index, "foo")).succeeded()
        assert there.installed() == {"foo": "1.0"}
    asked = [each.headers.get("Range") for each in upstream.of(".whl", "GET")]
    assert asked == [None, "bytes=1000000-"]
