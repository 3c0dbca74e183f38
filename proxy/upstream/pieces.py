"""The body of one answer as it arrives: silence, dripping and broken framing end in an error.

The read timeout of aiohttp does not cover all of these: it stops after an error in the framing.
"""

from __future__ import annotations

import asyncio
from typing import Self

from aiohttp import ClientError, ClientPayloadError, ClientResponse
from aiohttp.http_exceptions import HttpProcessingError

ENOUGH = 1024
"""Bytes that have to arrive within the read timeout, unless the body ends before."""
_TICK = 1.0
"""Seconds between two looks at the connection."""


class Pieces:
    """Iterates over the chunks of a body, and closes the response when nothing more can come.

    One timer for the whole body: a timeout for each chunk would cost more than reading it.
    """

    def __init__(self, response: ClientResponse, seconds: float) -> None:
        """``seconds``: the read timeout; what the caller does between two chunks does not count."""
        self._response = response
        self._content = response.content
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._began: float | None = None  # when the caller began to wait for the next chunk
        self._waited = 0.0  # before that, in which fewer bytes than ENOUGH came
        self._arrived = 0
        self._stalled = False
        self._tick = min(_TICK, seconds)
        self._timer = self._loop.call_later(self._tick, self._look)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Raises ``TimeoutError``, ``aiohttp.ClientError`` and ``OSError``."""
        began = self._began = self._loop.time()
        try:
            chunk = await self._content.readany()
        except ClientError:
            if self._stalled:
                raise TimeoutError from None
            raise
        except (RuntimeError, HttpProcessingError) as error:  # the connection has gone
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
        if self._arrived >= ENOUGH:
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
            self._response.close()  # its reader is woken by an error

    def _is_lost(self) -> bool:
        connection = self._response.connection
        return connection is None or connection.transport is None
