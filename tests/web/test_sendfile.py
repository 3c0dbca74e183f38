"""Bytes past the transport's buffer, beside what the transport has still to send."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path
from typing import Any, cast

import pytest

from proxy.errors import StoreDamaged
from proxy.model import Span
from proxy.runtime.file_io import PIECE_SIZE, is_in_page_cache
from proxy.web.request_state import RequestState
from proxy.web.sendfile import FileSender
from tests.support.waiting import until

MB = 1_000_000


class Pair:
    """Both ends of a connection: a transport here, and a client that reads on request."""

    def __init__(self, transport: asyncio.Transport, client: socket.socket) -> None:
        self.transport = transport
        self.client = client

    @property
    def corked(self) -> bool:
        sock = self.transport.get_extra_info("socket")
        return bool(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK))

    async def fill(self) -> bytes:
        """Write more than the socket takes; what was written."""
        written = os.urandom(32 * MB)  # no socket has so much room
        self.transport.write(written)
        await asyncio.sleep(0)  # in which the loop sends what the socket takes
        assert self.transport.get_write_buffer_size()
        return written

    async def received(self, size: int) -> bytes:
        loop = asyncio.get_running_loop()
        got = bytearray()
        async with asyncio.timeout(20):
            while len(got) < size:
                piece = await loop.sock_recv(self.client, size - len(got))
                assert piece
                got += piece
        return bytes(got)


@asynccontextmanager
async def connected() -> AsyncIterator[Pair]:
    loop = asyncio.get_running_loop()
    made: asyncio.Future[asyncio.Transport] = loop.create_future()

    class Protocol(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.set_result(cast(asyncio.Transport, transport))  # uvloop's is no subclass

    server = await loop.create_server(Protocol, "127.0.0.1", 0)
    with socket.socket() as client:
        client.setblocking(False)
        await loop.sock_connect(client, server.sockets[0].getsockname())
        transport = await made
        server.close()
        yield Pair(transport, client)
        transport.abort()


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    async with connected() as made:
        yield made


class CountingTransport:
    """Counts how often it is asked for what it has not sent yet."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.looks = 0

    def get_write_buffer_size(self) -> int:
        self.looks += 1
        return self._transport.get_write_buffer_size()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


async def test_a_client_that_does_not_read_is_not_polled(pair: Pair) -> None:
    written = await pair.fill()
    transport = CountingTransport(pair.transport)
    sending = FileSender(cast(asyncio.Transport, transport), RequestState())
    flushed = asyncio.create_task(sending.flushed())
    for _ in range(10_000):
        await asyncio.sleep(0)
    assert transport.looks < 10
    assert not flushed.done()
    assert await pair.received(len(written)) == written
    await asyncio.wait_for(flushed, 20)
    sending.close()


async def test_what_was_written_before_comes_before(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data := os.urandom(3 * MB))
    written, state = await pair.fill(), RequestState()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    sending = FileSender(pair.transport, state)
    both = pair.received(len(written) + len(data)), _sent(sending, Span(fd, 0, len(data)))
    got, _ = await asyncio.gather(*both)
    assert got == written + data
    assert state.sent == len(data)
    sending.close()
    os.close(fd)


async def _sent(sending: FileSender, span: Span) -> None:
    await sending.flushed()
    await sending.send(span)


async def test_a_client_that_leaves_ends_the_waiting(pair: Pair) -> None:
    await pair.fill()
    sending = FileSender(pair.transport, RequestState())
    flushed = asyncio.create_task(sending.flushed())
    await asyncio.sleep(0)
    pair.client.close()
    await asyncio.wait_for(flushed, 20)
    sending.close()


@pytest.fixture
async def crowd() -> AsyncIterator[list[Pair]]:
    """More than one: what they get need not be copied."""
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(connected()) for _ in range(3)]


@contextmanager
def opened(path: Path, data: bytes) -> Iterator[int]:
    path.write_bytes(data)
    fd = os.open(path, os.O_RDWR)
    try:
        yield fd
    finally:
        os.close(fd)


@contextmanager
def sendings(crowd: list[Pair]) -> Iterator[list[FileSender]]:
    with ExitStack() as stack:
        yield [
            stack.enter_context(closing(FileSender(each.transport, RequestState())))
            for each in crowd
        ]


async def test_a_crowd_gets_what_lies_in_the_file(crowd: list[Pair], tmp_path: Path) -> None:
    data = os.urandom(8 * MB + 1)
    with opened(tmp_path / "file", data) as fd, sendings(crowd) as all_of_them:
        if not is_in_page_cache(fd, 0, len(data)):
            pytest.skip("this file system cannot tell what it holds in memory")
        span = Span(fd, 5, len(data), lasting=True)
        running = [asyncio.create_task(each.send(span)) for each in all_of_them]
        await until(lambda: all(each.corked for each in crowd))
        got = await asyncio.gather(*(each.received(len(data) - 5) for each in crowd[:-1]))
        assert set(got) == {data[5:]}
        assert not running[-1].done()  # it has waited for its client alone
        assert await crowd[-1].received(len(data) - 5) == data[5:]
        await asyncio.gather(*running)
    assert not any(each.corked for each in crowd)
    for each in crowd:
        each.transport.write(b"next")
        assert await each.received(4) == b"next"


async def test_nothing_is_corked_for_small_files_or_a_single_connection(
    crowd: list[Pair], tmp_path: Path
) -> None:
    with opened(tmp_path / "file", bytes(PIECE_SIZE)) as fd, sendings(crowd[:1]) as (sending,):
        if not is_in_page_cache(fd, 0, PIECE_SIZE):
            pytest.skip("this file system cannot tell what it holds in memory")
        much, little = Span(fd, 0, PIECE_SIZE, lasting=True), Span(fd, 0, 1000, lasting=True)
        with sendings(crowd[1:]):
            for span, corked in ((much, True), (little, False), (much, True)):
                await asyncio.gather(sending.send(span), crowd[0].received(span.stop))
                assert crowd[0].corked is corked
            await asyncio.gather(sending.send_bytes(b"more"), crowd[0].received(4))
            assert not crowd[0].corked
            await asyncio.gather(sending.send(much), crowd[0].received(PIECE_SIZE))
        assert crowd[0].corked
        await asyncio.gather(sending.send(much), crowd[0].received(PIECE_SIZE))
        assert not crowd[0].corked


async def test_what_may_change_is_copied_at_once(crowd: list[Pair], tmp_path: Path) -> None:
    data = os.urandom(50_000)
    with opened(tmp_path / "file", data) as fd, sendings(crowd) as all_of_them:
        for each in all_of_them:
            await each.send(Span(fd, 0, len(data)))
        os.pwrite(fd, bytes(len(data)), 0)
        for pair in crowd:
            assert await pair.received(len(data)) == data


async def test_a_file_that_is_too_short_for_a_crowd(crowd: list[Pair], tmp_path: Path) -> None:
    with opened(tmp_path / "file", bytes(PIECE_SIZE)) as fd, sendings(crowd) as all_of_them:
        for each in all_of_them:
            with pytest.raises(StoreDamaged):
                await each.send(Span(fd, 0, PIECE_SIZE + 1, lasting=True))


async def test_one_of_a_crowd_leaves(crowd: list[Pair], tmp_path: Path) -> None:
    with opened(tmp_path / "file", bytes(32 * MB)) as fd, sendings(crowd) as all_of_them:
        sending = asyncio.create_task(all_of_them[0].send(Span(fd, 0, 32 * MB, lasting=True)))
        await asyncio.sleep(0)
        crowd[0].client.close()
        with pytest.raises(ConnectionError):
            await asyncio.wait_for(sending, 20)
