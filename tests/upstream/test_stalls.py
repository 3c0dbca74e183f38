"""Answers that never end: each wait is bounded, ends in an error, and frees its connection."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from itertools import repeat

import pytest

from proxy.errors import UpstreamError, UpstreamTimeout
from proxy.model import ProjectName
from proxy.upstream.remote import Remote
from proxy.upstream.upstream_options import Timeouts
from tests.support.content import random_bytes
from tests.support.loop_clock import skip
from tests.support.raw_server import raw
from tests.support.remotes import open_remote
from tests.support.waiting import until

QUICK = Timeouts(connect=0.2, read=0.3, page=1.0)
SLOW = Timeouts(connect=60.0, read=60.0, page=60.0)
"""For tests that skip time."""
OK = b"HTTP/1.1 200 OK\r\n"
CONTENT = random_bytes(200_001)
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
CHUNKS = b"".join(
    b"%x\r\n%s\r\n" % (len(piece), piece)
    for piece in (CONTENT[at : at + 1000] for at in range(0, len(CONTENT), 1000))
)
HEADS = {
    "nothing": b"",
    "half a head": OK + b"X-Half: ",
    "100": b"HTTP/1.1 100 Continue\r\n\r\n",
    "102": b"HTTP/1.1 102 Processing\r\n\r\n",
    "103": b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
}
DRIPS = {
    "a line at a time": (OK, b"X-Drip: 1\r\n"),
    "a byte at a time": (OK, b"X"),
    "one interim answer after the other": (HEADS["102"], HEADS["102"]),
}
FRAMING = {
    "a size that is none": CHUNKS + b"zz\r\n",
    "a trailer without an end": CHUNKS + b"0\r\nX: " + b"y" * 100_000,
    "a trailer that is too long": CHUNKS + b"0\r\nX: " + b"y" * 200_000 + b"\r\n\r\n",
    "zeros in the middle": CHUNKS[:150_000] + bytes(3) + CHUNKS[150_000:],
    "no end": CHUNKS,
    "an end in the middle": CHUNKS[:150_000],
    "a size of more than comes": b"fffff\r\n" + CONTENT,
    "a size that is too long": CHUNKS + b"f" * 40 + b"\r\n",
}


async def whole(remote: Remote) -> bytes:
    async with remote.open(remote.url + "x") as body:
        return b"".join([chunk async for chunk in body.chunks])


ASKS: dict[str, Callable[[Remote], Awaitable[object]]] = {
    "file": whole,
    "metadata": lambda remote: remote.read(remote.url + "x", 2**20),
    "page": lambda remote: remote.page(ProjectName("x")),
    "size": lambda remote: remote.size(remote.url + "x"),
}


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("head", HEADS)
async def test_a_head_that_never_comes_is_a_timeout(ask: str, head: str) -> None:
    async with raw(HEADS[head]) as server, open_remote(server.url, timeouts=QUICK) as remote:
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(ASKS[ask](remote), 20)
        await until(lambda: server.closed == len(server.requests))


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("drip", DRIPS)
async def test_the_whole_of_a_head_has_a_limit_in_time(ask: str, drip: str) -> None:
    first, then = DRIPS[drip]
    async with (
        raw(first, drip=repeat(then, 400)) as server,
        open_remote(server.url, timeouts=QUICK) as remote,
    ):
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(ASKS[ask](remote), 15)


@pytest.mark.parametrize("close", [True, False])
@pytest.mark.parametrize("ask", ["file", "metadata", "page"])
@pytest.mark.parametrize("framing", FRAMING)
async def test_broken_framing_is_a_broken_connection(ask: str, framing: str, close: bool) -> None:
    async with (
        raw(CHUNKED + FRAMING[framing], close=close) as server,
        open_remote(server.url, timeouts=QUICK) as remote,
    ):
        with pytest.raises(UpstreamError):
            await asyncio.wait_for(ASKS[ask](remote), 20)
        if not close:
            await until(lambda: server.closed == len(server.requests))


@pytest.mark.parametrize("ask", ["file", "metadata"])
async def test_a_body_that_drips_is_a_timeout(ask: str) -> None:
    async with (
        raw(OK + b"Content-Length: 99999\r\n\r\n", drip=repeat(b"x", 400)) as server,
        open_remote(server.url, timeouts=QUICK) as remote,
    ):
        with pytest.raises(UpstreamTimeout):
            await asyncio.wait_for(ASKS[ask](remote), 15)


async def test_the_time_that_the_reader_takes_does_not_count() -> None:
    content = random_bytes(8_000_000)  # more than the buffers take: the rest is still to come
    async with (
        raw(OK + b"Content-Length: %d\r\n\r\n" % len(content) + content) as server,
        open_remote(server.url, timeouts=SLOW) as remote,
        remote.open(remote.url + "x") as answer,
    ):
        got = await anext(answer.chunks)
        await skip(4 * SLOW.read)
        assert got + b"".join([chunk async for chunk in answer.chunks]) == content


async def test_the_wait_for_a_free_connection_is_no_wait_for_a_head() -> None:
    head = OK + b"Content-Length: 5\r\n\r\n"
    async with (
        raw(head + b"he", head + b"hello") as server,
        open_remote(server.url, timeouts=SLOW, connections=1, retries=0) as remote,
    ):
        async with remote.open(remote.url + "x"):
            second = asyncio.create_task(whole(remote))
            await skip(0.0)  # now it waits for the connection
            await skip(3 * SLOW.head)
            assert not second.done()
        assert await second == b"hello"
