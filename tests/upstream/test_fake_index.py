"""The fake index is itself what it claims to be, else every test on it proves nothing."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from tests.support.upstream import Fault, Upstream, run_upstream_process
from tests.upstream.conftest import METADATA


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(auto_decompress=False) as session:
        yield session


JSON = {"Accept": "application/vnd.pypi.simple.v1+json", "Accept-Encoding": "identity"}


async def test_page_by_accept_with_validators(
    upstream: Upstream, http: aiohttp.ClientSession
) -> None:
    async with http.get(upstream.url + "demo/", headers=JSON) as answer:
        page, etag = json.loads(await answer.read()), answer.headers["ETag"]
    assert page["files"][0]["url"] == upstream.url_of("demo-1.0-py3-none-any.whl")
    assert answer.headers["X-PyPI-Last-Serial"] == "1001"
    async with http.get(upstream.url + "demo/", headers=JSON | {"If-None-Match": etag}) as answer:
        assert (answer.status, answer.headers["ETag"]) == (304, etag)
    async with http.get(upstream.url + "demo/", headers={"Accept-Encoding": "gzip"}) as answer:
        text = gzip.decompress(await answer.read()).decode()
    assert 'data-requires-python="&gt;=3.8,&lt;4"' in text
    assert answer.headers["ETag"] != etag
    assert upstream.count("/demo/", "GET") == 3


async def test_files_with_ranges_and_siblings(
    upstream: Upstream, http: aiohttp.ClientSession, wheel: Path
) -> None:
    url, data = upstream.url_of(wheel.name), wheel.read_bytes()
    async with http.head(url) as answer:
        assert answer.content_length == len(data)
    etag = answer.headers["ETag"]
    for asked, expected in (("bytes=10-19", data[10:20]), ("bytes=-7", data[-7:])):
        async with http.get(url, headers={"Range": asked, "If-Range": etag}) as answer:
            assert (answer.status, await answer.read()) == (206, expected)
    async with http.get(url, headers={"Range": "bytes=1-", "If-Range": '"old"'}) as answer:
        assert (answer.status, await answer.read()) == (200, data)
    async with http.get(url + ".metadata") as answer:
        assert await answer.read() == METADATA
    async with http.get(url + ".provenance") as answer:
        assert json.loads(await answer.read()) == {"version": 1}


async def test_truncated_then_resumed(
    upstream: Upstream, http: aiohttp.ClientSession, wheel: Path
) -> None:
    upstream.fault("*.whl", Fault(truncate=100), times=1)
    async with http.get(upstream.url_of(wheel.name)) as answer:
        got = await answer.content.readexactly(100)
        with pytest.raises(aiohttp.ClientPayloadError):
            await answer.content.read()
    async with http.get(upstream.url_of(wheel.name), headers={"Range": "bytes=100-"}) as answer:
        assert got + await answer.read() == wheel.read_bytes()


async def test_gate_stops_the_body_and_corrupt_changes_it(
    upstream: Upstream, http: aiohttp.ClientSession, wheel: Path
) -> None:
    gate = asyncio.Event()
    upstream.fault("*.whl", Fault(gate=gate, gate_at=500, corrupt=True))
    async with http.get(upstream.url_of(wheel.name)) as answer:
        start = await answer.content.readexactly(500)
        rest = asyncio.create_task(answer.content.read())
        assert not (await asyncio.wait({rest}, timeout=0.05))[0]
        gate.set()
        whole = start + await rest
    assert len(whole) == wheel.stat().st_size
    assert bytes(byte ^ 0xFF for byte in whole) == wheel.read_bytes()


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        (Fault(status=503, headers={"Retry-After": "7"}), 503),
        (Fault(redirect="/elsewhere?sig=%2F%7E"), 302),
        (Fault(redirect="/elsewhere", status=308), 308),
        (Fault(body=b"<html>login</html>"), 200),
        (Fault(chunked=True), 200),
    ],
)
async def test_faulty_answers(
    upstream: Upstream, http: aiohttp.ClientSession, fault: Fault, status: int
) -> None:
    upstream.fault("/demo/", fault)
    async with http.get(upstream.url + "demo/", allow_redirects=False) as answer:
        assert answer.status == status
        assert answer.headers.get("Location") == fault.redirect


async def test_hang_and_reset(upstream: Upstream, http: aiohttp.ClientSession) -> None:
    upstream.fault("/demo/", Fault(hang=True), times=1)
    upstream.fault("/demo/", Fault(reset=True), times=1)
    with pytest.raises(TimeoutError):
        await http.get(upstream.url + "demo/", timeout=aiohttp.ClientTimeout(total=0.1))
    with pytest.raises(aiohttp.ClientConnectionError):
        await http.post(upstream.url + "demo/")
    async with http.get(upstream.url + "demo/") as answer:
        assert answer.status == 200


async def test_process(wheel: Path, http: aiohttp.ClientSession) -> None:
    with run_upstream_process(wheel.parent, latency_ms=1, bandwidth=10_000_000) as process:
        async with http.get(process.url + "demo/", headers=JSON) as answer:
            file = json.loads(await answer.read())["files"][0]
        async with http.get(file["url"]) as answer:
            digest = hashlib.sha256(await answer.read()).hexdigest()
    assert file["hashes"] == {"sha256": digest}
