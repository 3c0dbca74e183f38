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
from collections.abc import Mapping
from typing import Any

import msgspec

from proxy.cli.reloading import SettingsSource, needing_restart, reload_on_signal
from proxy.cli.worker_process import WORKER_VARIABLE, Reload, Reloaded, WorkerPlace, lines_of
from proxy.config import Settings, cache_folder
from proxy.errors import ConfigurationError
from proxy.runtime import new_memory
from proxy.web import STOP_SIGNALS

log = logging.getLogger(__name__)

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
        self._refused = False
        """Whether a later state of it was refused."""
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
        """Let the workers reload, one after the other. Raises ``ConfigurationError``.

        If one of them refuses the settings, all keep the former ones, as do those that start later.
        """
        former = self._text
        try:
            text, settings = await asyncio.to_thread(self._read)
            await self._reload_workers(text)
        except ConfigurationError:
            self._text, self._refused = former, True
            for number in self._workers:
                self._send(number, Reload(former, refused=True))
            raise
        self._refused = False
        return tuple(needing_restart(self._settings, settings))

    def _read(self) -> tuple[str | None, Settings]:
        try:
            text = self._source.text()
            return text, self._source.load(text)
        except ConfigurationError as error:
            log.error("the settings are not reloaded, and the former ones stay: %s", error)
            raise

    async def _reload_workers(self, text: str | None) -> None:
        """Raises ``ConfigurationError`` as the first worker that refuses the settings."""
        silent = []
        for number in sorted(self._workers):
            if await self._reload_worker(number, text):
                self._text = text  # for workers that are restarted from now on
            else:
                silent.append(number)
        for number in silent:  # they ended, and may have been restarted before that
            await self._reload_worker(number, text)
        self._text = text

    async def _reload_worker(self, number: int, text: str | None) -> bool:
        """Whether it has answered: not if it has ended. Raises ``ConfigurationError``."""
        replies = self._replies[number]
        self._send(number, Reload(text))
        line = await replies.readline()
        if not line:
            return False
        if error := msgspec.json.decode(line, type=Reloaded).error:
            key, _, problem = error.partition(": ")
            raise ConfigurationError(key, problem)
        return True

    def _send(self, number: int, line: Reload) -> None:
        stdin = self._workers[number].stdin
        assert stdin
        if not stdin.is_closing():
            stdin.write(msgspec.json.encode(line) + b"\n")

    async def _keep(self, number: int, port: int, memory: int) -> int:
        """Run one worker, and restart it when it has died."""
        pause = FIRST_PAUSE
        status = 0
        is_first = True
        while not self._stopping.is_set():
            started = time.monotonic()
            status = await self._one(number, port, memory)
            if self._stopping.is_set():
                break
            if status == WRONG_SETTING and is_first:
                self._stop()  # all others have the same settings
                return status
            is_first = False  # later the others serve, whatever has become of a file
            lived = time.monotonic() - started
            pause = FIRST_PAUSE if lived > MIN_LIFETIME else min(pause * 2, MAX_PAUSE)
            log.error("worker %d ended with status %d; it is restarted", number, status)
            await self._pause(pause)
        return max(status, 0)

    async def _one(self, number: int, port: int, memory: int) -> int:
        shows = number == 0 and 0 not in self._workers  # one greeting is enough
        receives, sends = os.pipe()
        place = WorkerPlace(number, port, memory, sends)
        worker = await asyncio.create_subprocess_exec(
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
        async with lines_of(receives) as replies:
            self._workers[number], self._replies[number] = worker, replies
            self._send(number, Reload(self._text))
            if self._refused:
                self._send(number, Reload(self._text, refused=True))
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
