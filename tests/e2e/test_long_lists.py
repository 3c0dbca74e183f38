"""The list of a million projects over HTTP: prepared once, sent to all kinds of clients."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from tests.support.distributions import make_wheel
from tests.support.fake_index import FakeIndex
from tests.support.running import Running, running
from tests.support.site import serving
from tests.support.upstream import Fault, Upstream

JSON = "application/vnd.pypi.simple.v1+json"
BARE = ["Accept-Encoding"]
NAMES_IN_LIST = 900_000


@asynccontextmanager
async def listing(folder: Path, count: int) -> AsyncIterator[Running]:
    names = ",".join(f'{{"name":"project-{number}"}}' for number in range(count))
    body = b'{"meta":{"api-version":"1.0"},"projects":[' + names.encode() + b"]}"
    make_wheel(folder / "packages", "acme", "1.0")
    async with Upstream() as upstream:
        upstream.fault("/simple/", Fault(body=body, content_type=JSON))
        given = ("--upstream", upstream.url)
        async with running(folder, *given, WAYSTATION_LIST_UPSTREAM="true") as server:
            yield server


async def get(server: Running, **headers: str) -> tuple[int, CIMultiDictProxy[str], bytes]:
    async with (
        aiohttp.ClientSession(
            auto_decompress=False, skip_auto_headers=["Accept-Encoding"]
        ) as session,
        session.get(server.index, headers=headers) as response,
    ):
        return response.status, response.headers, await response.read()


async def test_all_forms_have_all_names_and_say_what_they_list(tmp_path: Path) -> None:
    async with listing(tmp_path, 3000) as server:
        packed = await get(server, **{"Accept": JSON, "Accept-Encoding": "gzip"})
        plain = await get(server, Accept=JSON)
        html = await get(server, Accept="text/html")
        found = json.loads(plain[2])
        assert len(found["projects"]) == 3001
        assert "all projects of upstreams" in found["meta"]["_about"]
        assert gzip.decompress(packed[2]) == plain[2]
        assert html[2].count(b"<a href=") == 3001
        assert b"all projects of upstreams" in html[2]
        assert packed[1]["ETag"] != plain[1]["ETag"]
        for answer, coding in ((packed, "gzip"), (plain, "")):
            tag = {"If-None-Match": answer[1]["ETag"], "Accept": JSON, "Accept-Encoding": coding}
            assert (await get(server, **tag))[0] == 304


@pytest.mark.slow
async def test_the_list_of_a_million_names_takes_bounded_memory(tmp_path: Path) -> None:
    async with listing(tmp_path, NAMES_IN_LIST) as server:
        await get(server, Accept=JSON)
        _, _, body = await get(server, Accept=JSON)
        assert body.count(b'"name"') == NAMES_IN_LIST + 1
        await get(server, Accept="text/html")
        assert server.peak() < 250 * 2**20


async def test_by_default_a_list_says_that_it_has_what_was_requested() -> None:
    index = FakeIndex("main")
    index.add("foo", "foo-1.0.tar.gz", b"x")
    async with serving(index) as site:
        answer = await site.get("/simple/", headers={"Accept": JSON})
        assert "requested so far" in json.loads(answer.body)["meta"]["_about"]
        assert b"requested so far" in (await site.get("/simple/")).body
