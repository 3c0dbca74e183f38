"""A worker process as seen by itself: its place, and the lines between it and its supervisor."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from proxy.errors import ConfigurationError, reason
from proxy.runtime import SharedCounters, end_tasks

log = logging.getLogger(__name__)

WORKER_VARIABLE = "_WAYSTATION_WORKER"
"""Set in the environment of a worker: its ``WorkerPlace``. Not named like a setting."""
MAX_LINE = 16 * 2**20
"""Bytes of a line between supervisor and worker: it has the settings file."""


class WorkerPlace(NamedTuple):
    """Values that the supervisor passes to a worker."""

    number: int
    """From 0 on; a restarted worker has the number of the one that it replaces."""
    port: int
    """The port on which all workers listen."""
    memory: int
    """The file descriptor of their shared memory."""

    replies: int
    """The file descriptor to which it writes the result of a reload."""

    def __str__(self) -> str:
        return ":".join(map(repr, self))


class Reload(msgspec.Struct):
    """A line from the supervisor to a worker, at its start and with each reload."""

    text: str | None
    """The settings file."""
    refused: bool = False
    """A later state of the file was refused: ``text`` stays in force. This is not answered."""


class Reloaded(msgspec.Struct):
    """The line with which a worker answers a reload."""

    notes: tuple[str, ...] = ()
    error: str = ""


def worker_place() -> WorkerPlace | None:
    """The place of this process; None if it is not a worker."""
    value = os.environ.get(WORKER_VARIABLE)
    return WorkerPlace(*map(int, value.split(":"))) if value else None


def shared_counters() -> SharedCounters:
    """The counters of this process, beside those of the other workers of the server."""
    worker = worker_place()
    return (
        SharedCounters.shared(worker.memory, worker.number)
        if worker
        else SharedCounters.single_process()
    )


def received_settings() -> str | None:
    """In a worker, at its start: the settings file as its supervisor has read it."""
    with open(0, "rb", buffering=0, closefd=False) as pipe:
        line = pipe.readline()
    return msgspec.json.decode(line, type=Reload).text if line else None


@asynccontextmanager
async def follow_supervisor(
    place: WorkerPlace,
    reload: Callable[[str | None], Awaitable[tuple[str, ...]]],
    refuse: Callable[[str | None], Awaitable[None]],
    stop: Callable[[], None],
) -> AsyncIterator[None]:
    """In a worker: reload when the supervisor says so, and stop when it has ended, even by SIGKILL.

    ``reload`` gets the text of the settings file, and may raise ``ConfigurationError``. ``refuse``
    gets the text that stays in force when a later one was refused.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor decides

    async def follow() -> None:
        async with lines_of(0) as lines:
            while line := await lines.readline():
                given = msgspec.json.decode(line, type=Reload)
                if given.refused:
                    await refuse(given.text)
                    continue
                answer = await _answer(reload(given.text))
                os.write(place.replies, msgspec.json.encode(answer) + b"\n")
            stop()

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        await end_tasks(task)


async def _answer(reload: Awaitable[tuple[str, ...]]) -> Reloaded:
    """The answer for the supervisor, which waits for one whatever happens."""
    try:
        return Reloaded(await reload)
    except ConfigurationError as error:
        return Reloaded(error=str(error))
    except Exception as error:
        log.exception("the reload failed")
        return Reloaded(error=f"reload: an unexpected error, which the log has: {reason(error)}")


@asynccontextmanager
async def lines_of(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    """Of a pipe, which is closed at the end."""
    reader = asyncio.StreamReader(limit=MAX_LINE)
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)  # the transport closes it
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        yield reader
    finally:
        transport.close()
