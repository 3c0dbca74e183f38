"""The fake upstream: a process of its own, with settable latency an answer and bandwidth a
stream, which counts its requests. It does little work, so that it is not the bottleneck.

``/-/counts`` gives the requests so far, ``/-/asked`` the requested wheels of the folder
(or their metadata);
``/-/pace?latency=…&rate=…`` sets seconds an answer and bytes per second a stream (0: no limit).
None of these is counted or delayed.
"""

from __future__ import annotations

import argparse
import asyncio
from collections import deque
from pathlib import Path
from typing import cast

from benchmarks.fake_content import Body, FakeContent
from benchmarks.fake_upstream_answers import Request, State, answer, control_answer, parsed

PIECE = 256 * 1024
"""Bytes handed to the kernel at a time."""
BEAT = 0.01
"""Seconds between the pieces of a stream with limited bandwidth."""


class Connection(asyncio.Protocol):
    """Answers one request after the other."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._requests: deque[Request] = deque()
        self._left: list[memoryview] = []
        self._busy = self._paused = False
        self._sent, self._began = 0, 0.0
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=PIECE)

    def data_received(self, data: bytes) -> None:
        *whole, self._received = (self._received + data).split(b"\r\n\r\n")
        self._requests.extend(parsed(head) for head in whole)
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._left.clear()
        self._requests.clear()
        self._paused = True

    def pause_writing(self) -> None:
        self._paused = True

    def resume_writing(self) -> None:
        self._paused = False
        self._send()

    def _next(self) -> None:
        if self._busy or not self._requests:
            return
        self._busy = True
        request = self._requests.popleft()
        if request.target.startswith("/-/"):
            self._begin(*control_answer(self._state, request.target))
            return
        found = answer(self._state, request)
        if self._state.latency:
            self._loop.call_later(self._state.latency, self._begin, *found)
        else:
            self._begin(*found)

    def _begin(self, head: bytes, body: Body | None) -> None:
        self._sent, self._began = 0, self._loop.time()
        self._left = [memoryview(part) for part in body.parts] if body else []
        if self._left and self._left[0].nbytes < PIECE and not self._state.rate:
            head += self._left.pop(0)
        self._transport.write(head)
        self._send()

    def _send(self) -> None:
        """Send what the bandwidth allows now; called again when it allows more."""
        if self._timer:
            self._timer.cancel()
        rate = self._state.rate
        while self._left and not self._paused:
            if rate and (due := self._began + self._sent / rate) > self._loop.time():
                self._timer = self._loop.call_at(due, self._send)
                return
            piece = self._left[0][: max(int(rate * BEAT), 1024) if rate else PIECE]
            self._left[0] = self._left[0][piece.nbytes :]
            if not self._left[0].nbytes:
                self._left.pop(0)
            self._sent += piece.nbytes
            self._transport.write(piece)
        if self._busy and not self._left and not self._paused:
            self._busy = False
            self._next()


async def _serve(port: int, folder: Path | None) -> None:
    state = State(FakeContent(f"http://127.0.0.1:{port}/files/", folder))
    server = await asyncio.get_running_loop().create_server(
        lambda: Connection(state), "127.0.0.1", port, backlog=1024
    )
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--wheels", type=Path)
    options = parser.parse_args()
    try:
        import uvloop
    except ImportError:
        asyncio.run(_serve(options.port, options.wheels))
    else:
        uvloop.run(_serve(options.port, options.wheels))
