"""A connection to a server that breaks, or hangs, after so many bytes."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Self


class Relay:
    """Passes connections on to a port of 127.0.0.1; set the attributes at any time."""

    def __init__(self, target: int) -> None:
        self.port = 0
        self.answer_limit: int | None = None
        """Bytes of all answers from now on after which every connection is reset."""
        self.request_limit: int | None = None
        """The same of requests."""
        self.hangs = False
        """At a limit, and from then on, nothing is passed on, instead of a reset."""
        self._target = target
        self._server: asyncio.Server
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        self._reset_all()

    @property
    def is_broken(self) -> bool:
        return 0 in (self.answer_limit, self.request_limit)

    def heal(self) -> None:
        self.answer_limit = self.request_limit = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.is_broken and not self.hangs:
            writer.transport.abort()
            return
        with suppress(OSError):
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, back}
            try:
                await asyncio.gather(self._requests(reader, back), self._answers(there, writer))
            finally:
                self._writers -= {writer, back}
                writer.transport.abort()
                back.transport.abort()

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                self.request_limit = self._left(self.request_limit, data)
                if self.is_broken:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    async def _answers(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(2**16):
                self.answer_limit = self._left(self.answer_limit, data)
                if self.is_broken:
                    continue
                writer.write(data)
                await writer.drain()
        writer.transport.abort()

    def _left(self, limit: int | None, data: bytes) -> int | None:
        if limit is None:
            return None
        left = max(0, limit - len(data))
        if left == 0 and not self.hangs:
            self._reset_all()
        return left

    def _reset_all(self) -> None:
        for writer in self._writers:
            writer.transport.abort()
