"""The body of one answer as it arrives.

``BodyChunks`` ends silent, slow and broken bodies with an error; the read timeout of aiohttp
stops after an error in the framing. ``Chunking`` joins small chunks, since each write of a piece
costs a thread.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from aiohttp import ClientError, ClientPayloadError, ClientResponse, StreamReader
from aiohttp.http_exceptions import HttpProcessingError

from proxy.runtime import PIECE_SIZE

MIN_PROGRESS = 1024
"""Bytes that have to arrive within the read timeout, unless the body ends before."""
_CHECK_INTERVAL = 1.0
"""Seconds between two checks of the connection."""


class BodyChunks:
    """Iterates over the chunks of a body, and closes the response when nothing more can come.

    One timer for the whole body: a timeout for each chunk would cost more than reading it.
    """

    def __init__(self, response: ClientResponse, seconds: float) -> None:
        """``seconds``: the read timeout; time that the caller spends between chunks is free."""
        self._response = response
        self._content = response.content
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None  # when the caller began to wait for the next chunk
        self._waited = 0.0  # seconds before that, in which MIN_PROGRESS did not come
        self._arrived = 0
        self._stalled = False
        self._tick = min(_CHECK_INTERVAL, seconds)
        self._timer = self._loop.call_later(self._tick, self._look)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Raises ``TimeoutError``, ``aiohttp.ClientError`` and ``OSError``."""
        began = self._began = self._loop.time()
        try:
            chunk = _unread(self._content) or await self._content.readany()
        except ClientError:
            if self._stalled:
                raise TimeoutError from None
            raise
        except (RuntimeError, HttpProcessingError) as error:  # the connection is closed
            raise ClientPayloadError from error
        finally:
            self._began = None
        if not chunk:
            self._timer.cancel()
            raise StopAsyncIteration
        self._count(len(chunk), self._loop.time() - began)
        return chunk

    def _count(self, arrived: int, waited: float) -> None:
        self._arrived += arrived
        self._waited += waited
        if self._arrived >= MIN_PROGRESS:
            self._arrived, self._waited = 0, 0.0

    def _look(self) -> None:
        if self._response.closed:
            return
        self._timer = self._loop.call_later(self._tick, self._look)
        if self._began is None or self._content.is_eof() or self._content.exception() is not None:
            return
        waited = self._waited + self._loop.time() - self._began
        self._stalled = waited >= self._seconds
        if self._stalled or self._is_lost():
            self._response.close()  # wakes the waiting caller with an error

    def _is_lost(self) -> bool:
        connection = self._response.connection
        return connection is None or connection.transport is None


def _unread(content: StreamReader) -> bytes:
    """Bytes that arrived before an error: ``readany`` would raise that error and drop them."""
    if content.exception() is None or not content._buffer:
        return b""
    return content._read_nowait(-1)


_MAX_DELAY = 0.02
"""Seconds that bytes wait for more bytes, except the first ones: a client waits for them."""


class Chunking:
    """Iterates over pieces of joined chunks, which a separate task reads.

    It buffers at most a piece and a chunk: then reading pauses, and so does upstream.
    """

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks
        self._parts: list[bytes] = []
        self._size = 0
        self._some = asyncio.Event()
        self._enough = asyncio.Event()
        self._taken = asyncio.Event()
        self._reading: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        if (reading := self._reading) is None:
            return
        if not reading.done():
            reading.cancel()
            await asyncio.wait({reading})
        if not reading.cancelled():
            reading.exception()  # marks it as retrieved

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises the error of the chunks, after all bytes before it."""
        first = await anext(self._chunks, b"")
        reading = self._reading = asyncio.create_task(self._read())
        if first:
            yield first
        while not reading.done() or self._parts:
            await self._some.wait()
            await self._more()
            if piece := self._take():
                yield piece
        reading.result()

    async def _more(self) -> None:
        try:
            async with asyncio.timeout(_MAX_DELAY):
                await self._enough.wait()
        except TimeoutError:
            pass

    def _take(self) -> bytes:
        piece = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        self._taken.set()
        if self._reading and not self._reading.done():
            self._some.clear()
            self._enough.clear()
        return piece

    async def _read(self) -> None:
        try:
            async for chunk in self._chunks:
                self._parts.append(chunk)
                self._size += len(chunk)
                self._some.set()
                if self._size >= PIECE_SIZE:
                    self._enough.set()
                    self._taken.clear()
                    await self._taken.wait()
        finally:
            self._some.set()
            self._enough.set()
