"""Bytes past the transport's buffer, beside what the transport has still to send."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import pytest

from proxy.storage.base import Span
from proxy.web.access_log import Handled
from proxy.web.sending import Sending

MB = 1_000_000
WAIT = 0.3


class Pair:
    """Both ends of a connection: a transport here, and a client that reads when it is told to."""

    def __init__(self, transport: asyncio.Transport, client: socket.socket) -> None:
        self.transport = transport
        self.client = client

    async def fill(self) -> bytes:
        """Write more than the socket takes; what was written."""
        written = os.urandom(32 * MB)  # no socket has so much room
        self.transport.write(written)
        await asyncio.sleep(0.01)
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


async def test_a_client_that_does_not_read_costs_nothing(pair: Pair) -> None:
    written = await pair.fill()
    sending = Sending(pair.transport, Handled())
    flushed = asyncio.create_task(sending.flushed())
    await asyncio.sleep(0)
    before = time.thread_time()
    await asyncio.sleep(WAIT)
    assert time.thread_time() - before < WAIT / 2
    assert not flushed.done()
    assert await pair.received(len(written)) == written
    await asyncio.wait_for(flushed, 20)
    sending.close()


async def test_what_was_written_before_comes_before(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(data := os.urandom(3 * MB))
    written, handled = await pair.fill(), Handled()
    fd = os.open(tmp_path / "file", os.O_RDONLY)
    sending = Sending(pair.transport, handled)
    both = pair.received(len(written) + len(data)), _sent(sending, Span(fd, 0, len(data)))
    got, _ = await asyncio.gather(*both)
    assert got == written + data
    assert handled.sent == len(data)
    sending.close()
    os.close(fd)


async def _sent(sending: Sending, span: Span) -> None:
    await sending.flushed()
    await sending.send(span)


async def test_a_client_that_leaves_ends_the_waiting(pair: Pair) -> None:
    await pair.fill()
    sending = Sending(pair.transport, Handled())
    flushed = asyncio.create_task(sending.flushed())
    await asyncio.sleep(0)
    pair.client.close()
    await asyncio.wait_for(flushed, 20)
    sending.close()
