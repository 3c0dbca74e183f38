"""``python -m tests.docs.player DOCUMENT FOLDER [TOOL=BIN…]``: run the commands of a document, as
written.

To be run in a network namespace of its own: every port is free there, and there is no network but
loopback. An index on loopback takes the place of PyPI.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
import venv
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError
from urllib.request import urlopen

import pip

from tests.docs.documents import Step, steps
from tests.support.distributions import make_wheel
from tests.support.upstream_process import run_upstream_process

LIMIT = 120.0
"""Seconds for one block."""
READY = "http://127.0.0.1:8080/readyz"
SHELL = ("bash", "-euo", "pipefail", "-c")


class Failed(Exception):
    """A step did not do what the document says."""


class Machine:
    """A home of a new user, with a virtual environment, and the files that documents assume."""

    def __init__(self, folder: Path, upstream: str, tools: dict[str, str]) -> None:
        self.folder = folder
        self._home = folder.with_name(f"{folder.name}-home")
        self._home.mkdir(parents=True)
        folder.mkdir()
        environment = self._home / "environment"
        _make_environment(environment)
        path = [environment / "bin", Path(sys.executable).parent, *tools.values()]
        self.variables = {
            "PATH": os.pathsep.join([*map(str, path), "/usr/local/bin:/usr/bin:/bin"]),
            "HOME": str(self._home),
            "LANG": "C.UTF-8",
            "VIRTUAL_ENV": str(environment),
            "UV_PYTHON_DOWNLOADS": "never",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "WAYSTATION_UPSTREAM": upstream,
            "WAYSTATION_WATCH": "true",
        }

    def start(self, command: str, output: Path) -> subprocess.Popen[bytes]:
        with output.open("ab") as file:
            return subprocess.Popen(
                [*SHELL, command],
                cwd=self.folder,
                env=self.variables,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )


class Player:
    """Runs the steps of one document, one after the other."""

    def __init__(self, root: Path, upstream: str, tools: dict[str, str]) -> None:
        self._root = root
        self._upstream = upstream
        self._tools = tools
        self._machines: dict[str, Machine] = {}
        self._servers: list[subprocess.Popen[bytes]] = []
        self._others: list[subprocess.Popen[bytes]] = []
        self._machine = self._find("home")
        _fill(self._machine.folder)

    def play(self, step: Step) -> None:
        actions: dict[str, Callable[[], None]] = {
            "run": lambda: self._run(_command(step)),
            "serve": lambda: self._serve(step.text or step.argument),
            "stop": self._stop_server,
            "background": lambda: self._others.append(self._start(_command(step))),
            "wait": lambda: _wait(step.argument, self._others),
            "file": lambda: self._write(step.argument, step.text),
            "machine": lambda: self._move(step.argument),
        }
        if step.directive in actions:
            actions[step.directive]()

    def stop(self) -> None:
        for process in [*self._servers, *self._others]:
            _end(process)

    def _run(self, command: str) -> None:
        process = self._start(command)
        try:
            status = process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            raise Failed(f"no end after {LIMIT:.0f} seconds") from None
        finally:
            _end(process)
        if status:
            raise Failed(f"exit status {status}")

    def _serve(self, command: str) -> None:
        self._stop_server()
        self._servers.append(self._start(command))
        _wait(READY, self._servers)

    def _stop_server(self) -> None:
        while self._servers:
            _end(self._servers.pop())

    def _start(self, command: str) -> subprocess.Popen[bytes]:
        return self._machine.start(command, self._root / "output")

    def _write(self, name: str, text: str) -> None:
        path = self._machine.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{text}\n", encoding="utf-8")

    def _move(self, argument: str) -> None:
        """``NAME; carry: FILES``. Servers of the machine that is left are ended."""
        self._stop_server()
        name, _, files = argument.partition("; carry: ")
        before, self._machine = self._machine, self._find(name)
        for each in files.split():
            shutil.copy(before.folder / each, self._machine.folder)

    def _find(self, name: str) -> Machine:
        if name not in self._machines:
            self._machines[name] = Machine(self._root / name, self._upstream, self._tools)
        return self._machines[name]


def _command(step: Step) -> str:
    without = step.argument.removeprefix("without ")
    return f"unset {without}\n{step.text}" if without else step.text


_BACKEND = ("hatchling", "packaging", "pathspec", "pluggy", "trove_classifiers")
"""The build backend that documents use without isolation, and what it imports."""


def _make_environment(folder: Path) -> None:
    """A virtual environment with pip and hatchling of this one: to install others takes seconds."""
    venv.create(folder, symlinks=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    for name in ("pip", *_BACKEND):
        (packages / name).symlink_to(Path(pip.__file__).parents[1] / name)
    command = folder / "bin" / "pip"
    command.write_text(f'#!/bin/sh\nexec "{folder}/bin/python" -m pip "$@"\n')
    command.chmod(0o755)


def _fill(folder: Path) -> None:
    """The files that documents assume: requirements, and a wheel that was just built."""
    (folder / "requirements.txt").write_text("flask>=3\n")
    make_wheel(folder / "dist", "acme-tool", "1.2")


def _index(folder: Path) -> Path:
    """The projects that documents install."""
    for name, version, requires in (
        ("flask", "3.1", ["click>=8"]),
        ("click", "8.1", []),
        ("requests", "2.32", ["idna"]),
        ("idna", "3.10", []),
    ):
        make_wheel(folder, name, version, requires=requires)
    return folder


def _wait(address: str, servers: list[subprocess.Popen[bytes]]) -> None:
    end = time.monotonic() + LIMIT
    while time.monotonic() < end and servers[-1].poll() is None:
        with suppress(URLError, ConnectionError), urlopen(address, timeout=LIMIT) as answer:
            answer.read()
            return
        time.sleep(0.05)
    raise Failed(f"nothing answers at {address}")


def _end(process: subprocess.Popen[bytes]) -> None:
    """All that the process started, too."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    try:
        process.wait(20)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


@contextmanager
def _playing(root: Path, tools: dict[str, str]) -> Iterator[Player]:
    with run_upstream_process(_index(root / "index")) as upstream:
        player = Player(root, upstream.url, tools)
        try:
            yield player
        finally:
            player.stop()


def main(document: str, folder: str, *tools: str) -> int:
    root = Path(folder)
    with _playing(root, dict(each.split("=", 1) for each in tools)) as player:
        for step in steps(Path(document)):
            try:
                player.play(step)
            except (Failed, OSError) as error:
                output = root / "output"
                written = output.read_text(errors="replace") if output.exists() else ""
                print(f"line {step.line}: {error}\n{step.text}\n{written[-4000:]}")
                return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
