"""A server that sends bytes as they are, and keeps the connection until the client closes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from itertools import chain, repeat


class Raw:
    """``closed`` counts the connections that the client has closed."""

    def __init__(self) -> None:
        self.url = ""
        self.requests: list[bytes] = []
        self.closed = 0


@asynccontextmanager
async def raw(
    *answers: bytes, drip: Iterable[bytes] = (), close: bool = False
) -> AsyncIterator[Raw]:
    """Each request gets the next of the ``answers``, then the last one again; then it gets the
    pieces of ``drip``, one in 0.05 s. ``close``: the server ends the connection after that.
    """
    seen = Raw()
    following = chain(answers, repeat(answers[-1]))
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.requests.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(next(following))
        for piece in drip:
            await asyncio.sleep(0.05)
            writer.write(piece)
        if not close:
            await reader.read(1)
            seen.closed += 1

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        tasks.add(task)
        with suppress(OSError, asyncio.IncompleteReadError):
            try:
                await serve(reader, writer)
            finally:
                writer.close()
        tasks.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    seen.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/simple/"
    try:
        yield seen
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
