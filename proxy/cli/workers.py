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
from collections.abc import Callable
from typing import Any, NamedTuple

from proxy.config import Settings
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
WRONG_SETTING = 2
"""The exit status for a wrong setting."""


def number_of_workers(settings: Settings) -> int:
    """As set; ``auto`` is one for each processor that this process may use."""
    if settings.workers == "auto":
        return len(os.sched_getaffinity(0))
    return settings.workers


class WorkerPlace(NamedTuple):
    """What the supervisor passes to a worker."""

    number: int
    """From 0 on; a restarted worker has the number of the one that it replaces."""
    port: int
    """The port on which all workers listen."""
    memory: int
    """The file descriptor of their shared memory."""

    def __str__(self) -> str:
        return ":".join(map(repr, self))


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

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: dict[int, asyncio.subprocess.Process] = {}
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
                asyncio.create_task(self._keep(WorkerPlace(number, port, memory)))
                for number in range(workers)
            ]
            statuses = await asyncio.gather(*keepers)
        return max(statuses)

    async def _keep(self, place: WorkerPlace) -> int:
        """Run one worker, and restart it when it has died."""
        pause = FIRST_PAUSE
        status = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._one(place)
            if self._stopping.is_set():
                break
            if status == WRONG_SETTING:
                self._stop()  # all others have the same settings
                return status
            lived = time.monotonic() - started
            pause = FIRST_PAUSE if lived > MIN_LIFETIME else min(pause * 2, MAX_PAUSE)
            log.error("worker %d ended with status %d; it is restarted", place.number, status)
            await self._pause(pause)
        return max(status, 0)

    async def _one(self, place: WorkerPlace) -> int:
        shows = place.number == 0 and 0 not in self._workers  # one greeting is enough
        worker = self._workers[place.number] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy",
            *sys.argv[1:],
            env={**os.environ, WORKER_VARIABLE: str(place)},
            pass_fds=[place.memory],
            stdin=asyncio.subprocess.PIPE,  # it closes when the supervisor ends, even by SIGKILL
            stdout=None if shows else asyncio.subprocess.DEVNULL,
        )
        if self._stopping.is_set():
            worker.terminate()
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


def when_orphaned(stop: Callable[[], None]) -> None:
    """In a worker: call ``stop`` when its supervisor has ended, even by SIGKILL."""
    loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

    def ended() -> None:
        loop.remove_reader(pipe)
        stop()

    loop.add_reader(pipe, ended)


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
