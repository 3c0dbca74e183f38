"""Runs ``waystation`` commands as processes of their own without starting a Python for each.

``python -m tests.support.fork_server SOCKET`` imports the commands once, and forks for each request
from the socket. The new process gets the arguments, environment, folder and standard streams of
the request, runs ``proxy.cli.main`` and exits as ``python -m proxy`` does. To import everything
takes 0.4 s of CPU, more than most commands need. What concerns the start itself (imports,
``PYTHONPATH``, the memory of a fresh process) is tested with ``python -m proxy``.
"""

from __future__ import annotations

import asyncio
import atexit
import gc
import importlib
import json
import logging
import os
import random
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import IO, Any, NamedTuple

ROOT = Path(__file__).parents[2]
MAX_REQUEST = 2**17
"""Bytes of a request: arguments and environment."""
LAZY_IMPORTS = (
    *("proxy.bundle", "proxy.composition.cache", "proxy.composition.proxy", "proxy.export"),
    *("proxy.maintenance", "proxy.prefetch", "proxy.requirements.sources", "proxy.warm.keep"),
    *("proxy.warm.ready", "proxy.warm.warm", "proxy.web", "encodings.idna"),
    *("proxy.facts", "proxy.face.descriptions", "proxy.face.page_handlers", "proxy.web.uploads"),
    *("proxy.composition.open_releases", "proxy.composition.policy_rules"),
    *("proxy.composition.routed_rules", "proxy.config.policy_checks"),
    *("proxy.config.validation_errors", "proxy.web.token_exchange"),
    *("importlib.readers", "inotify_simple", "jinja2", "packaging.metadata", "pypi_simple"),
    *("uv", "uvloop"),
)
"""Modules that commands import only when they run."""


class StartRequest(NamedTuple):
    """A command to run; its standard streams are sent beside it."""

    arguments: list[str]
    environment: dict[str, str]
    folder: str


class ForkedProcess:
    """The client's view of a process; the methods are those of ``asyncio.subprocess.Process``."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        pid = control.recv(16)
        if not pid:
            raise EOFError("the fork server has ended; its error is on standard error")
        self.pid = int(pid)
        self._status: int | None = None
        control.setblocking(False)

    @property
    def returncode(self) -> int | None:
        """The exit status; that of a killed process is the negative number of the signal."""
        if self._status is None:
            with suppress(BlockingIOError):
                self._set_status(self._control.recv(16))
        return self._status

    def send_signal(self, number: int) -> None:
        """Raises ``ProcessLookupError`` if the process has ended."""
        os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)

    async def wait(self) -> int:
        """Return the exit status."""
        if self._status is None:
            self._set_status(await asyncio.get_running_loop().sock_recv(self._control, 16))
        assert self._status is not None
        return self._status

    def wait_blocking(self, seconds: float) -> int:
        """The same without an event loop. Raises ``TimeoutError``."""
        if self._status is None:
            self._control.settimeout(seconds)
            self._set_status(self._control.recv(16))
        assert self._status is not None
        return self._status

    def _set_status(self, message: bytes) -> None:
        self._control.close()
        self._status = int(message)


class Finished(NamedTuple):
    """A command that has ended, and its output."""

    returncode: int
    stdout: str
    stderr: str


def fork(
    arguments: Iterable[str | Path],
    environment: Mapping[str, str],
    folder: Path,
    streams: tuple[int | IO[Any], int | IO[Any], int | IO[Any]],
) -> ForkedProcess:
    """Start ``waystation ARGUMENTS``; ``streams`` are its standard input, output and error."""
    request = StartRequest([*map(str, arguments)], dict(environment), str(folder))
    numbers = [each if isinstance(each, int) else each.fileno() for each in streams]
    control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        socket.send_fds(_server(), [json.dumps(request).encode()], [theirs.fileno(), *numbers])
    return ForkedProcess(control)


def run_forked(
    arguments: Iterable[str | Path],
    environment: Mapping[str, str],
    folder: Path,
    *,
    given: bytes = b"",
    stdin: int | IO[Any] | None = None,
    stdout: int | IO[Any] | None = None,
    limit: float = 120.0,
) -> Finished:
    """Run ``waystation ARGUMENTS`` to its end.

    Its standard input is ``stdin``, or has the bytes ``given``; what it writes to ``stdout`` is
    not in the result. Raises ``TimeoutError`` after ``limit`` seconds.
    """
    with (
        tempfile.TemporaryFile() as source,
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
    ):
        source.write(given)
        source.seek(0)
        streams = source if stdin is None else stdin, out if stdout is None else stdout, err
        process = fork(arguments, environment, folder, streams)
        try:
            status = process.wait_blocking(limit)
        except TimeoutError:
            process.kill()
            raise
        out.seek(0)
        err.seek(0)
        return Finished(status, out.read().decode(), err.read().decode())


@cache
def _server() -> socket.socket:
    """The socket of this process's fork server, which ends with this process."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())],
            cwd=ROOT,
            env={"PYTHONWARNINGS": "error", "LANG": "C.UTF-8"},
            pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
        )

    def stop() -> None:
        ours.close()
        process.wait(20)

    atexit.register(stop)
    return ours


class _ForkServer:
    """The side of the server: reads requests, forks, and sends each exit status."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._ready = selectors.DefaultSelector()
        self._ready.register(requests, selectors.EVENT_READ)
        self._controls: dict[int, tuple[int, socket.socket]] = {}
        """The process and its client's socket, by the process's descriptor."""

    def serve(self) -> StartRequest | None:
        """Return a request in each new process, and None in the server at its end."""
        while True:
            for key, _ in self._ready.select():
                if key.fd in self._controls:
                    self._report(key.fd)
                    continue
                message, descriptors, _, _ = socket.recv_fds(self._requests, MAX_REQUEST, 4)
                if not message:
                    self._close()
                    return None
                request = StartRequest(*json.loads(message))
                if self._fork(socket.socket(fileno=descriptors[0]), descriptors[1:]):
                    return request

    def _fork(self, control: socket.socket, streams: list[int]) -> bool:
        """True in the new process."""
        pid = os.fork()
        if pid == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            control.close()
            self._close()
            return True
        for stream in streams:
            os.close(stream)
        descriptor = os.pidfd_open(pid)
        self._controls[descriptor] = pid, control
        self._ready.register(descriptor, selectors.EVENT_READ)
        control.send(str(pid).encode())
        return False

    def _report(self, descriptor: int) -> None:
        pid, control = self._controls.pop(descriptor)
        self._ready.unregister(descriptor)
        os.close(descriptor)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        with control:
            control.send(str(status).encode())

    def _close(self) -> None:
        """So that a new process has nothing of the server."""
        self._ready.close()
        self._requests.close()
        for descriptor, (_, control) in self._controls.items():
            os.close(descriptor)
            control.close()


def _prepare(request: StartRequest) -> None:
    """Make this process look like ``python -m proxy ARGUMENTS`` after its imports."""
    os.environ.clear()
    os.environ.update(request.environment)
    os.chdir(request.folder)
    sys.argv[:] = [str(ROOT / "proxy" / "__main__.py"), *request.arguments]
    sys.stdout.reconfigure(line_buffering=os.isatty(1))  # type: ignore[union-attr]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    time.tzset()
    random.seed()


def _main(descriptor: int) -> None:
    from proxy.cli import COMMANDS, MODULES, main, without_authorities

    commands = (f"proxy.cli.{MODULES.get(command, command)}" for command in COMMANDS)
    with without_authorities():  # as a start does
        for name in (*commands, *LAZY_IMPORTS):
            importlib.import_module(name)
    gc.freeze()  # a collection in a new process would write to memory that it shares
    request = _ForkServer(socket.socket(fileno=descriptor)).serve()
    if request is not None:
        _prepare(request)
        _run(main)


def _run(main: Callable[[], object]) -> None:
    """Call it, and end as Python ends, but without freeing every object at the end.

    That is most of the CPU of a short command, as it writes to all memory that the process shares.
    """
    status = 0

    def end() -> None:
        gc.collect()  # an open file that is garbage is reported
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        os._exit(status)

    atexit.register(end)  # runs after threads have ended, and after what main registers
    try:
        main()
    except SystemExit as exit_:
        if isinstance(exit_.code, str):
            print(exit_.code, file=sys.stderr)
        status = exit_.code if isinstance(exit_.code, int) else int(exit_.code is not None)
    except BaseException:
        atexit.unregister(end)
        raise


if __name__ == "__main__":
    _main(int(sys.argv[1]))
