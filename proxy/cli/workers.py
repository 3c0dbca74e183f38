"""Several processes on one port: started, watched, started again, and ended together.

They share the port (SO_REUSEPORT: the kernel deals out connections), the cache folder and the
board that they count on, and nothing else. A file that two of them are asked for at once may be
fetched by both.
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

log = logging.getLogger(__name__)

WORKER = "_WAYSTATION_WORKER"
"""Set in the environment of a worker: its ``Post``. No setting, so named unlike one."""
QUICK = 5.0
"""Seconds: a worker that lives shorter has a fault that a new one will have too."""
LONGEST_PAUSE = 30.0
WRONG_SETTING = 2
"""The exit status for a wrong setting."""
TERMINATING = (signal.SIGTERM, signal.SIGINT)


def count(settings: Settings) -> int:
    """How many processes are wanted; ``auto`` is one for each processor we may use."""
    if settings.workers == "auto":
        return len(os.sched_getaffinity(0))
    return settings.workers


class Post(NamedTuple):
    """What a worker has to know."""

    number: int
    """From 0 on; who takes the place of one that died has the same."""
    port: int
    """That all listen on."""
    memory: int
    """The descriptor of their board."""

    def __str__(self) -> str:
        return ":".join(map(repr, self))


def post() -> Post | None:
    """In a worker its post, in other processes None."""
    told = os.environ.get(WORKER)
    return Post(*map(int, told.split(":"))) if told else None


def board() -> SharedCounters:
    """Ours, beside those of all other workers of the server."""
    worker = post()
    return SharedCounters.shared(worker.memory, worker.number) if worker else SharedCounters.alone()


class Supervisor:
    """Keeps workers running until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._workers: dict[int, asyncio.subprocess.Process] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> int:
        """The exit status: that of a worker which could not start, else 0."""
        loop = asyncio.get_running_loop()
        for number in TERMINATING:
            loop.add_signal_handler(number, self._stop)
        with _reserved(self._settings) as reserved:
            port, workers = reserved.getsockname()[1], count(self._settings)
            memory = new_memory(workers)
            keepers = [
                asyncio.create_task(self._keep(Post(number, port, memory)))
                for number in range(workers)
            ]
            statuses = await asyncio.gather(*keepers)
        return max(statuses)

    async def _keep(self, post: Post) -> int:
        """Run one worker, and another one when it has died."""
        pause = 0.5
        status = 0
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._one(post)
            if self._stopping.is_set():
                break
            if status == WRONG_SETTING:
                self._stop()  # all others have the same settings
                return status
            lived = time.monotonic() - started
            pause = 0.5 if lived > QUICK else min(pause * 2, LONGEST_PAUSE)
            log.error("worker %d ended with status %d; a new one is started", post.number, status)
            await self._pause(pause)
        return max(status, 0)

    async def _one(self, post: Post) -> int:
        shows = post.number == 0 and 0 not in self._workers  # where it listens, once
        worker = self._workers[post.number] = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "proxy",
            *sys.argv[1:],
            env={**os.environ, WORKER: str(post)},
            pass_fds=[post.memory],
            stdin=asyncio.subprocess.PIPE,  # whose end tells that we are gone, however we went
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
        """Pass it on; a second signal reaches the workers too, and ends them at once."""
        self._stopping.set()
        for worker in self._workers.values():
            if worker.returncode is None:
                worker.send_signal(signal.SIGTERM)


def when_orphaned(stop: Callable[[], None]) -> None:
    """In a worker: call ``stop`` when its supervisor has ended, were it by SIGKILL."""
    loop, pipe = asyncio.get_running_loop(), sys.stdin.fileno()

    def ended() -> None:
        loop.remove_reader(pipe)
        stop()

    loop.add_reader(pipe, ended)


def _reserved(settings: Settings) -> socket.socket:
    """The port, bound and not listened on: it stays ours while a worker is being replaced."""
    try:
        found = socket.getaddrinfo(settings.host, settings.port, type=socket.SOCK_STREAM)[0]
        # Alone first: the workers of another server would let us share their port.
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
