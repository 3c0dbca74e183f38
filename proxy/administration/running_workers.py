"""The workers of a server, to each other: what each is doing now.

Requests come to one worker or another, and administration is about the whole server. Each worker
answers on a socket in the cache folder, which only its own user can open.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

import msgspec

from proxy.errors import reason

log = logging.getLogger(__name__)

ANSWER_TIMEOUT = 2.0
"""Seconds in which another worker has to answer; a busy one is left out."""
MAX_STATE = 16 * 2**20
"""Bytes of the state of a worker."""


class DownloadState(msgspec.Struct, frozen=True):
    """A download that is running."""

    index: str
    what: str
    """File and project, in words."""
    received: int
    """Bytes so far."""
    size: int | None
    readers: int
    """Clients that are waiting for it."""


class WorkerState(msgspec.Struct, frozen=True):
    """The state of a worker."""

    pid: int
    downloads: tuple[DownloadState, ...] = ()
    open_breakers: tuple[str, ...] = ()
    """Names of the indexes whose upstream cannot be reached now."""
    upstream_requests: int = 0
    """Requests to upstreams that are running."""


class RunningWorkers:
    """The states of all workers of one server; also of a server that is one process."""

    def __init__(self, folder: Path, group: int, state: Callable[[], WorkerState]) -> None:
        """``folder``: that of the sockets. ``group``: the number of the process that started the
        workers. ``state``: that of this worker."""
        self._folder = folder
        self._group = group
        self._state = state
        self._own = f"{group}-{os.getpid()}.sock"

    @asynccontextmanager
    async def answering(self) -> AsyncIterator[None]:
        """While entered, other workers get the state of this one."""
        try:
            server = await asyncio.start_unix_server(self._send, sock=self._listening())
        except OSError as error:
            log.warning("other workers cannot ask this one for its state: %s", reason(error))
            yield
            return
        try:
            yield
        finally:
            server.close()
            (self._folder / self._own).unlink(missing_ok=True)

    async def states(self) -> list[WorkerState]:
        """Of all workers that answer."""
        others = list(self._folder.glob(f"{self._group}-*.sock"))
        asked = [self._ask(each.name) for each in others if each.name != self._own]
        answers = await asyncio.gather(*asked)
        found = [self._state(), *(each for each in answers if each)]
        return sorted(found, key=lambda each: each.pid)

    def _listening(self) -> socket.socket:
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / self._own).unlink(missing_ok=True)
        listening = socket.socket(socket.AF_UNIX)
        try:
            with _short(self._folder, self._own) as address:
                listening.bind(address)
        except OSError:
            listening.close()
            raise
        return listening

    async def _send(self, _: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            writer.write(msgspec.json.encode(self._state()))
            await writer.drain()
        writer.close()

    async def _ask(self, name: str) -> WorkerState | None:
        asking = socket.socket(socket.AF_UNIX)
        asking.setblocking(False)
        try:
            async with asyncio.timeout(ANSWER_TIMEOUT):
                with _short(self._folder, name) as address:
                    await asyncio.get_running_loop().sock_connect(asking, address)
                reader, writer = await asyncio.open_unix_connection(sock=asking)
                data = await reader.read(MAX_STATE)
                writer.close()
            return msgspec.json.decode(data, type=WorkerState)
        except (OSError, TimeoutError, msgspec.MsgspecError) as error:
            asking.close()
            if isinstance(error, ConnectionRefusedError):  # of a worker that was killed
                (self._folder / name).unlink(missing_ok=True)
            return None


@contextmanager
def _short(folder: Path, name: str) -> Iterator[str]:
    """An address of the socket that is short enough for the system, however long the path is."""
    descriptors = Path("/proc/self/fd")
    if not descriptors.exists():
        yield str(folder / name)
        return
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"{descriptors}/{descriptor}/{name}"
    finally:
        os.close(descriptor)
