"""Network activity during a test: the addresses connected to, and a forward proxy."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any, Self

_watching: list[list[tuple[str, int]]] = []


def _watch(event: str, args: tuple[Any, ...]) -> None:
    if event == "socket.connect" and _watching and isinstance(args[1], tuple):
        for seen in _watching:
            seen.append((args[1][0], args[1][1]))


sys.addaudithook(_watch)


@contextmanager
def connections() -> Iterator[list[tuple[str, int]]]:
    """Address and port of every connection that this process tries to make meanwhile."""
    seen: list[tuple[str, int]] = []
    _watching.append(seen)
    try:
        yield seen
    finally:
        _watching.remove(seen)


class ForwardProxy:
    """An HTTP proxy on loopback: CONNECT for TLS, absolute addresses for the rest."""

    def __init__(self, names: Mapping[str, tuple[str, int]] | None = None) -> None:
        """``names``: where ``host:port`` really is."""
        self.names = dict(names or {})
        self.requests: list[tuple[str, str | None]] = []
        """Request lines, and what each showed as ``Proxy-Authorization``."""
        self._ends: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for end in self._ends:
            end.transport.abort()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            await self._forward(reader, writer)
        writer.close()

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._ends.add(writer)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        shown = [each.partition(": ")[2] for each in lines if each.startswith("Proxy-Auth")]
        self.requests.append((first, shown[0] if shown else None))
        method, target, version = first.split(" ")
        tunnel = method == "CONNECT"
        authority = target if tunnel else target.split("/")[2]
        path = "/" + target.split("/", 3)[-1]
        host, _, port = authority.partition(":")
        where = self.names.get(authority, (host, int(port or 80)))
        there, onward = await asyncio.open_connection(*where)
        self._ends.add(onward)
        kept = [each for each in lines if not each.startswith("Proxy-Auth")]
        if tunnel:
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        else:
            onward.write("\r\n".join([f"{method} {path} {version}", *kept]).encode("latin-1"))
        await asyncio.gather(_copy(reader, onward), _copy(there, writer))


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(65536):
            writer.write(chunk)
            await writer.drain()
    writer.close()
