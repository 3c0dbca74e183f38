"""Child processes pinned to a core, with what they cost: CPU seconds and resident memory."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

TICK = 1 / os.sysconf("SC_CLK_TCK")
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]
"""The measured process has a core of its own, if there are two."""
PATIENCE = 60.0
"""Seconds a server may take to answer for the first time, or to come to rest."""


class Broken(Exception):
    """A scenario could not be run: something did not start, or did not answer as it should."""


@dataclass(frozen=True, slots=True)
class Server:
    name: str
    port: int
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def cpu_seconds(self) -> float:
        """User and system time of the process and all its children, also of those that ended."""
        return sum(
            sum(int(field) for field in _stat(pid)[11:15]) * TICK for pid in self._processes()
        )

    def pss(self) -> float:
        """Proportional set size of all its processes, in megabytes of 10^6 bytes."""
        return sum(_pss(pid) for pid in self._processes()) / 1e6

    def prefer(self) -> None:
        """Give all its threads priority over other work on the machine, where that is permitted."""
        for pid in self._processes():
            prefer(pid)

    def resident(self, peak: bool = False) -> float:
        """Resident memory of all its processes in MB, now or at its peak since ``reset_peak``."""
        name = "VmHWM:" if peak else "VmRSS:"
        return sum(_status(pid, name) for pid in self._processes()) / 1e6

    def reset_peak(self) -> None:
        for pid in self._processes():
            with contextlib.suppress(OSError):
                Path(f"/proc/{pid}/clear_refs").write_text("5")

    def wait_idle(self, rest: float) -> None:
        """Wait until the process has been idle for ``rest`` seconds."""
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            before = self.cpu_seconds()
            time.sleep(rest)
            if self.cpu_seconds() - before <= rest / 25:
                return

    def _processes(self) -> list[int]:
        children: dict[int, list[int]] = {}
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and (stat := _stat(int(entry.name))):
                children.setdefault(int(stat[1]), []).append(int(entry.name))
        found = [self.process.pid]
        for pid in found:
            found += children.get(pid, [])
        return found


@contextlib.contextmanager
def running(
    name: str,
    command: Sequence[str | Path],
    *,
    port: int,
    folder: Path,
    environment: Mapping[str, str] | None = None,
    ready: str = "/",
    cores: Sequence[int] = (SERVER_CORE,),
) -> Iterator[Server]:
    """The process from its first good answer at ``ready`` until the block is left.

    Of our environment it gets only what starts programs. Raises ``Broken``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            ["taskset", "-c", ",".join(map(str, cores)), *command],
            cwd=folder,
            env=clean_environment(folder) | dict(environment or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        )
    server = Server(name, port, process, log)
    try:
        wait_until_ready(server, ready)
        yield server
    finally:
        stop(process)


def stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait(10)


def wait_until_ready(server: Server, path: str, pause: float = 0.005) -> None:
    """Request until the answer is 200. Raises ``Broken`` when the process ends or time is up."""
    deadline = time.monotonic() + PATIENCE
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{server.port}\r\nConnection: close\r\n\r\n"
    while time.monotonic() < deadline and server.process.poll() is None:
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", server.port), 5) as connection,
        ):
            connection.sendall(request.encode())
            if connection.recv(64).startswith((b"HTTP/1.1 200", b"HTTP/1.0 200")):
                return
        time.sleep(pause)
    log_end = server.log.read_text(errors="replace")[-2000:]
    raise Broken(f"{server.name} does not answer 200 at {path}; its log ends with:\n{log_end}")


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as found:
        return int(found.getsockname()[1])


def clean_environment(home: Path) -> dict[str, str]:
    """No setting of the user's reaches what is measured."""
    return {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8"}


def prefer(pid: int) -> None:
    """Let all threads of a process run before ordinary processes, where that is permitted."""
    with contextlib.suppress(OSError):
        for thread in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(thread.name), os.SCHED_RR, os.sched_param(1))


@contextlib.contextmanager
def on_cores(cores: Sequence[int]) -> Iterator[None]:
    """Pin this process, and what it starts, to these cores until the block is left."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def busy_share(seconds: float) -> float:
    """The share of all cores' time that any process uses in the next ``seconds``."""
    before = _core_times()
    time.sleep(seconds)
    spent = [after - former for after, former in zip(_core_times(), before, strict=True)]
    return 1 - (spent[3] + spent[4]) / (sum(spent) or 1)  # idle, and waiting for a disk


def _core_times() -> list[int]:
    return [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]


def _stat(pid: int) -> list[str]:
    """The fields of ``/proc/<pid>/stat`` after the name; none if the process has ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pss(pid: int) -> int:
    """Bytes."""
    return _kilobytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")


def _status(pid: int, name: str) -> int:
    """Bytes."""
    return _kilobytes(Path(f"/proc/{pid}/status"), name)


def _kilobytes(file: Path, name: str) -> int:
    """The bytes that a line of the file gives in kB; 0 if the process has ended."""
    with contextlib.suppress(OSError):
        for line in file.read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) * 1024
    return 0
