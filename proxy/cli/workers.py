"""Worker processes: the supervisor starts several on one port, restarts and ends them.

Workers share the port (SO_REUSEPORT: the kernel distributes connections), the cache folder and
counters in shared memory, and nothing else. A file that clients request from two of them at the
same time may be fetched twice.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import msgspec

from proxy.cli.reloading import SettingsSource, needing_restart, reload_on_signal
from proxy.config import Settings, cache_folder
from proxy.errors import ConfigurationError
from proxy.runtime import SharedCounters, new_memory
from proxy.web import STOP_SIGNALS

log = logging.getLogger(__name__)

WORKER_VARIABLE = "_WAYSTATION_WORKER"
"""Set in the environment of a worker: its ``WorkerPlace``. Not named like a setting."""
MIN_LIFETIME = 5.0
"""Seconds: a worker that ends sooner probably has a fault that its successor will have, too."""
FIRST_PAUSE = 0.5
"""Seconds before a worker is restarted; doubled after each one that ends too soon."""
MAX_PAUSE = 30.0
"""Seconds before a worker is restarted, at most."""
MAX_LINE = 16 * 2**20
"""Bytes of a line between supervisor and worker: it has the settings file."""
WRONG_SETTING = 2
"""The exit status for a wrong setting."""


def number_of_workers(settings: Settings) -> int:
    """As set; ``auto`` is one for each processor that this process may use."""
    if settings.workers == "auto":
        return len(os.sched_getaffinity(0))
    return settings.workers


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


class _Reload(msgspec.Struct):
    """A line from the supervisor to a worker, at its start and with each reload."""

    text: str | None
    """The settings file."""


class _Reloaded(msgspec.Struct):
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


class Supervisor:
    """Keeps workers running until a signal stops it."""

    def __init__(
        self, settings: Settings, source: SettingsSource, variables: Mapping[str, str]
    ) -> None:
        """``variables``: for the environment of the workers."""
        self._settings = settings
        self._source = source
        self._variables = variables
        self._text = source.text()
        """The settings file that is in force, for workers that are restarted."""
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._replies: dict[int, asyncio.StreamReader] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """Return the exit status: that of a worker that could not start, else 0."""
        loop = asyncio.get_running_loop()
        for number in STOP_SIGNALS:
            loop.add_signal_handler(number, self._stop)
        with _reserved(self._settings) as reserved:
            port, workers = reserved.getsockname()[1], number_of_workers(self._settings)
            memory = new_memory(workers)
            keepers = [
                asyncio.create_task(self._keep(number, port, memory)) for number in range(workers)
            ]
            folder = cache_folder(self._settings)
            async with reload_on_signal(self._reload, self._stop, folder, self._source):
                statuses = await asyncio.gather(*keepers)
        return max(statuses)

    async def _reload(self) -> tuple[str, ...]:
        """Let the workers reload, one after the other. Raises ``ConfigurationError``."""
        try:
            text = await asyncio.to_thread(self._source.text)
            settings = await asyncio.to_thread(self._source.load, text)
        except ConfigurationError as error:
            log.error("the settings are not reloaded, and the former ones stay: %s", error)
            raise
        self._text = text
        answers = [await self._reload_worker(number) for number in sorted(self._workers)]
        if errors := [answer.error for answer in answers if answer.error]:
            raise ConfigurationError("reload", errors[0], "correct it and reload again")
        return tuple(needing_restart(self._settings, settings))

    async def _reload_worker(self, number: int) -> _Reloaded:
        worker, replies = self._workers[number], self._replies[number]
        try:
            assert worker.stdin
            worker.stdin.write(msgspec.json.encode(_Reload(self._text)) + b"\n")
            await worker.stdin.drain()
            line = await replies.readline()
        except ConnectionError:
            line = b""
        # A worker that has ended is restarted with the new settings.
        return msgspec.json.decode(line, type=_Reloaded) if line else _Reloaded()

    async def _keep(self, number: int, port: int, memory: int) -> int:
        """Run one worker, and restart it when it has died."""
        pause = FIRST_PAUSE
        status = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._one(number, port, memory)
            if self._stopping.is_set():
                break
            if status == WRONG_SETTING:
                self._stop()  # all others have the same settings
                return status
            lived = time.monotonic() - started
            pause = FIRST_PAUSE if lived > MIN_LIFETIME else min(pause * 2, MAX_PAUSE)
            log.error("worker %d ended with status %d; it is restarted", number, status)
            await self._pause(pause)
        return max(status, 0)

    async def _one(self, number: int, port: int, memory: int) -> int:
        shows = number == 0 and 0 not in self._workers  # one greeting is enough
        receives, sends = os.pipe()
        place = WorkerPlace(number, port, memory, sends)
        worker = self._workers[number] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy",
            *sys.argv[1:],
            env={**os.environ, **self._variables, WORKER_VARIABLE: str(place)},
            pass_fds=[memory, sends],
            stdin=asyncio.subprocess.PIPE,  # it closes when the supervisor ends, even by SIGKILL
            stdout=None if shows else asyncio.subprocess.DEVNULL,
        )
        os.close(sends)
        assert worker.stdin
        worker.stdin.write(msgspec.json.encode(_Reload(self._text)) + b"\n")
        if self._stopping.is_set():
            worker.terminate()
        async with _lines_of(receives) as self._replies[number]:
            return await worker.wait()

    async def _pause(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._stopping.wait()
        except TimeoutError:
            pass

    def _stop(self) -> None:
        """Stop the workers; a second signal reaches them too, and ends them at once."""
        self._stopping.set()
        for worker in self._workers.values():
            if worker.returncode is None:
                worker.send_signal(signal.SIGTERM)


def received_settings() -> str | None:
    """In a worker, at its start: the settings file as its supervisor has read it."""
    with open(0, "rb", buffering=0, closefd=False) as pipe:
        line = pipe.readline()
    return msgspec.json.decode(line, type=_Reload).text if line else None


@asynccontextmanager
async def follow_supervisor(
    place: WorkerPlace,
    reload: Callable[[str | None], Awaitable[tuple[str, ...]]],
    stop: Callable[[], None],
) -> AsyncIterator[None]:
    """In a worker: reload when the supervisor says so, and stop when it has ended, even by SIGKILL.

    ``reload`` gets the text of the settings file, and may raise ``ConfigurationError``.
    """
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the supervisor decides

    async def follow() -> None:
        async with _lines_of(0) as lines:
            while line := await lines.readline():
                text = msgspec.json.decode(line, type=_Reload).text
                try:
                    answer = _Reloaded(await reload(text))
                except ConfigurationError as error:
                    answer = _Reloaded(error=str(error))
                os.write(place.replies, msgspec.json.encode(answer) + b"\n")
            stop()

    task = asyncio.create_task(follow())
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@asynccontextmanager
async def _lines_of(descriptor: int) -> AsyncIterator[asyncio.StreamReader]:
    reader = asyncio.StreamReader(limit=MAX_LINE)
    protocol = asyncio.StreamReaderProtocol(reader)
    pipe = os.fdopen(descriptor, "rb", buffering=0)  # the transport closes it
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, pipe)
    try:
        yield reader
    finally:
        transport.close()


def _reserved(settings: Settings) -> socket.socket:
    """The port, bound without listening: it stays reserved while a worker is restarted."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        # Exclusively first: the workers of another server would share their port with us.
        with _bound(found[0], found[4], shared=False):
            pass
        return _bound(found[0], found[4], shared=True)
    except OSError as error:
        where = f"{settings.host}:{settings.port}"
        problem = f"cannot listen on {where}: {error.strerror or error}"
        raise ConfigurationError("port", problem, "choose a free one") from error


def _bound(family: int, address: Any, *, shared: bool) -> socket.socket:
    """Raises ``OSError``."""
    bound = socket.socket(family, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shared))
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound
