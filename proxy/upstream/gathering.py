"""Small chunks become bigger pieces, since each piece costs a thread; none waits long for it.

The first is given as it comes: somebody waits for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Self

from proxy.storage.reading import PIECE_SIZE

_LINGER = 0.02
"""Seconds that bytes may wait for more, except the first."""


class Chunking:
    """Iterates over pieces of what has come meanwhile, which a task of its own reads.

    At most a piece and a chunk are held: then reading pauses, and with it upstream.
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
            reading.exception()  # seen, or of no interest any more

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Raises what the chunks raise, after all that came before."""
        first = await anext(self._chunks, b"")
        # At once: what has come but was not read is lost where the connection breaks.
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
            async with asyncio.timeout(_LINGER):
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
