"""Plain connections to servers on loopback."""

from __future__ import annotations

import asyncio
import random
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

LIMIT = 60.0
"""Seconds in which everything on a connection has to end."""


@asynccontextmanager
async def connected(
    port: int, host: str = "127.0.0.1"
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection, closed at the end, when it may be closed already."""
    async with asyncio.timeout(LIMIT):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(ConnectionError):
                await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Leave as a process does that ends with bytes unread: nothing can be sent to it any more."""
    sock = writer.get_extra_info("socket")
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def exchange(port: int, sent: bytes, host: str = "127.0.0.1") -> bytes:
    """All that comes back for these bytes until the connection is closed or reset."""
    received = b""
    async with connected(port, host) as (reader, writer):
        writer.write(sent)
        with suppress(ConnectionError):
            while piece := await reader.read(65536):
                received += piece
    return received


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def lasting_port() -> int:
    """A port for a server that ends and starts again: outgoing connections get others (Linux)."""
    while True:
        port = random.randint(10_240, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port
