"""``waystation`` and other commands as processes of their own, without surprises around them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, Any, NamedTuple, TypeAlias

from tests.support.fork_server import ROOT, ForkedProcess, fork, run_forked

PATH = f"{Path(sys.executable).parent}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The running Python and the system's programs: other Pythons of a developer's machine are left
out, as uv starts each of them whenever it resolves for another version than the running one."""
OURS = {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "error"}
Process: TypeAlias = asyncio.subprocess.Process | ForkedProcess
LIMIT = 150.0
"""Seconds in which everything here has to end."""
CREDENTIAL = re.compile(
    r"ws[tp]_[A-Za-z0-9_-]{43}_|\beyJ[A-Za-z0-9_-]{20,}\.eyJ|"
    r"\b(?:Basic|Bearer) [A-Za-z0-9+/=._-]{8,}|://[^/@\s:*]+:[^/@\s*]+@"
)
"""A token, one of an issuer, the value of ``Authorization``, or a password in an address: no
server prints one."""


class Done(NamedTuple):
    """A command that has ended."""

    status: int
    out: str
    err: str

    def succeeded(self) -> Done:
        assert self.status == 0, f"status {self.status}\n{self.out}\n{self.err}"
        return self


def environment(home: Path, **more: str) -> dict[str, str]:
    """As of a new user on a machine without settings."""
    home.mkdir(parents=True, exist_ok=True)
    return {"PATH": PATH, "HOME": str(home), "LANG": "C.UTF-8"} | more


async def command(
    *arguments: str | Path, env: Mapping[str, str], cwd: Path, limit: float = LIMIT
) -> Done:
    """Run it to its end, which has to come within ``limit`` seconds."""
    process = await asyncio.create_subprocess_exec(
        *map(str, arguments),
        env=dict(env),
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(limit):
            out, err = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.communicate()
    return Done(process.returncode or 0, out.decode(), err.decode())


async def waystation(*arguments: str | Path, cwd: Path, given: str = "", **more: str) -> Done:
    """The command, run to its end with ``given`` as input; ``more`` is for the environment."""
    env = environment(cwd / "home", **more)
    if _is_for_python(env):
        raise ValueError("variables of Python need a start of Python: use command()")
    done = await asyncio.to_thread(run_forked, arguments, env, cwd, given=given.encode())
    return Done(done.returncode, done.stdout, done.stderr)


async def stop(process: Process) -> None:
    """Ask the process to end, and kill it after 20 seconds."""
    with suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(20):
            await process.wait()
    except TimeoutError:
        process.kill()
        await process.wait()


class _Output:
    """What a process writes, line by line."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self._more = asyncio.Event()
        self._ended = False

    async def read(self, stream: asyncio.StreamReader) -> None:
        while line := await stream.readline():
            self.lines.append(line.decode().rstrip("\n"))
            self._more.set()
        self._ended = True
        self._more.set()

    async def end(self) -> None:
        """Until the process writes no more."""
        async with asyncio.timeout(LIMIT):
            while not self._ended:
                self._more.clear()
                await self._more.wait()

    async def until(self, test: Callable[[str], bool]) -> str:
        """The first line that passes; there may be one already."""
        seen = 0
        async with asyncio.timeout(LIMIT):
            while True:
                for line in self.lines[seen:]:
                    seen += 1
                    if test(line):
                        return line
                if self._ended:
                    raise EOFError("\n".join(self.lines))
                self._more.clear()
                await self._more.wait()


class Running:
    """A server that runs; it logs in JSON by default."""

    def __init__(self, process: Process, out: _Output, err: _Output) -> None:
        self.process = process
        self.out = out
        self.err = err
        self.address = ""
        """Without a slash at its end."""

    @property
    def index(self) -> str:
        return f"{self.address}/simple/"

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def listening(self) -> int:
        """How many of its processes take connections by now."""
        sockets = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
        port = f":{self.port:04X}"
        return sum(state == "0A" and local.endswith(port) for _, local, _, state, *_ in sockets)

    def workers(self) -> set[int]:
        """The running processes that it has started."""
        found = set()
        for stat in Path("/proc").glob("[0-9]*/stat"):
            try:
                state, parent = stat.read_text().rpartition(")")[2].split()[:2]
            except OSError:
                continue
            if int(parent) == self.process.pid and state != "Z":
                found.add(int(stat.parent.name))
        return found

    def requests(self) -> list[dict[str, Any]]:
        """The fields of the access log's lines so far; all of them once the server has ended."""
        logged = [json.loads(line) for line in self.err.lines if line.startswith("{")]
        return [each for each in logged if each["message"] == "request"]

    async def logged(self, test: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the log that passes, or will."""
        line = await self.err.until(lambda line: line.startswith("{") and test(json.loads(line)))
        found: dict[str, Any] = json.loads(line)
        return found

    def send(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    async def ended(self) -> int:
        """The status with which it ends by itself."""
        async with asyncio.timeout(LIMIT):
            return await self.process.wait()

    async def end(self) -> None:
        """Stop the server; then all of its output is here."""
        await stop(self.process)
        await asyncio.gather(self.out.end(), self.err.end())

    def peak(self) -> int:
        """The most memory it ever had, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024


def _is_for_python(env: Mapping[str, str]) -> bool:
    """Whether a variable takes effect only when Python starts."""
    return any(name.startswith("PYTHON") and OURS.get(name) != env[name] for name in env)


async def start(
    arguments: Iterable[str | Path], env: Mapping[str, str], cwd: Path
) -> tuple[Process, asyncio.StreamReader, asyncio.StreamReader]:
    """A ``waystation`` command that runs, its output and its errors."""
    (stdout, out), (stderr, err) = await _pipe(), await _pipe()
    with stdout, stderr, open(os.devnull) as nothing:
        process: Process
        if _is_for_python(env):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "proxy", *map(str, arguments)),
                env=dict(env),
                cwd=cwd,
                stdin=nothing,
                stdout=stdout,
                stderr=stderr,
            )
        else:
            process = fork(arguments, env, cwd, (nothing, stdout, stderr))
        return process, out, err


async def _pipe() -> tuple[IO[bytes], asyncio.StreamReader]:
    reading, writing = os.pipe()
    reader = asyncio.StreamReader(limit=2**24)
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(reading, "rb")
    )
    return os.fdopen(writing, "wb"), reader


@asynccontextmanager
async def running(folder: Path, *arguments: str | Path, **more: str) -> AsyncIterator[Running]:
    """``waystation serve`` with these arguments, once it listens; ended at the end.

    It works in ``folder``, where its cache is too by default; ``more`` is for its
    environment. Raises ``EOFError`` with its output if it ends before it listens.
    """
    given: list[str | Path] = [
        "serve",
        "--cache-dir",
        folder / "cache",
        "--port",
        "0",
        "--log-format",
        "json",
    ]
    # Servers with several workers start these as ``python -m proxy``.
    env = environment(folder / "home", **(OURS | more))
    process, stdout, stderr = await start([*given, *arguments], env, folder)
    out, err = _Output(), _Output()
    readers = asyncio.gather(out.read(stdout), err.read(stderr))
    server = Running(process, out, err)
    try:
        try:
            line = await out.until(lambda line: "listens on" in line)
            await out.until(lambda line: line.strip().startswith("uv:"))
        except EOFError as error:
            await readers
            raise EOFError("\n".join([*out.lines, *err.lines])) from error
        server.address = line.split()[-1].rstrip("/")
        yield server
    finally:
        await stop(process)
        await readers
    credentials = [line for line in (*out.lines, *err.lines) if CREDENTIAL.search(line)]
    assert credentials == [], "the output of a server holds a credential"
