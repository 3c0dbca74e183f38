"""Resolves requirements with uv, as a subprocess.

uv sees one index, served to it on a free port of 127.0.0.1, and none of the user's configuration.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from packaging.requirements import InvalidRequirement, Requirement

from proxy.distributions import Target
from proxy.errors import ConfigurationError, ProxyError, how_to_add
from proxy.indexes import Index
from proxy.model import ProjectName, normalize
from proxy.requirements.model import ResolverInput
from proxy.web import Server, create_app

Version = tuple[ProjectName, str]

MAX_UV_PROCESSES = 4
"""Resolver processes at the same time."""
MAX_ERROR_OUTPUT = 4000
"""Characters of uv's error message that are kept."""

_SDIST_OPTIONS = {
    "also": (),
    "none": ("--only-binary", ":all:"),
    "only": ("--no-binary", ":all:"),
}


class Resolver:
    """Resolves requirements while entered; the index is served from the first call on."""

    def __init__(self, index: Index, sdists: Literal["also", "none", "only"] = "also") -> None:
        self._index = index
        self._sdists = sdists
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(MAX_UV_PROCESSES)
        self._uv: Uv | None = None
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def resolve(
        self, requirements: ResolverInput, target: Target, *, dependencies: bool = True
    ) -> list[Version]:
        """The versions that the target has to install.

        Raises ``UvFailed``, and ``ConfigurationError`` if uv is not installed or does not
        support the platform.
        """
        uv = await self.start()
        options = [*self._options(requirements, dependencies), *target.uv_arguments()]
        wanted, constraints = self._write_inputs(uv.scratch, requirements)
        async with self._slots:
            out = await uv.run(
                [
                    *("pip", "compile", "--no-header", "--no-annotate"),
                    *(*options, "--constraints", str(constraints), str(wanted)),
                ],
                target.uv_environment(),
            )
        return list(_versions(out))

    async def install(self, requirements: ResolverInput, *, dependencies: bool = True) -> None:
        """Install into a new environment of the running Python. Raises ``UvFailed``."""
        uv = await self.start()
        wanted, constraints = self._write_inputs(uv.scratch, requirements)
        folder = wanted.with_suffix("")
        options = self._options(requirements, dependencies)
        options += ["--constraints", str(constraints), "-r", str(wanted)]
        await uv.run(["venv", "--python", sys.executable, str(folder)])
        await uv.run(["pip", "install", "--python", str(folder), *options])

    async def start(self) -> Uv:
        """uv with a cache of its own and the served index. Raises ``ConfigurationError``."""
        async with self._starting:
            if self._uv is None:
                program = find_uv()
                folder = tempfile.TemporaryDirectory(
                    prefix="waystation-", ignore_cleanup_errors=True
                )
                scratch = Path(self._stack.enter_context(folder))
                address = await self._stack.enter_async_context(serve_index(self._index))
                self._uv = Uv(program, address, scratch)
        return self._uv

    def _options(self, requirements: ResolverInput, dependencies: bool) -> list[str]:
        sdists = requirements.file_filter.sdists if requirements.file_filter else self._sdists
        options = [] if dependencies else ["--no-deps"]
        options += ["--prerelease", "allow"] if requirements.prereleases else []
        return [*_SDIST_OPTIONS[sdists], *options]

    def _write_inputs(self, scratch: Path, requirements: ResolverInput) -> tuple[Path, Path]:
        self._count += 1
        wanted = scratch / f"{self._count}.in"
        constraints = scratch / f"{self._count}-constraints.txt"
        wanted.write_text(requirements.text, encoding="utf-8")
        constraints.write_text(requirements.constraints, encoding="utf-8")
        return wanted, constraints


def _versions(out: str) -> Iterator[Version]:
    """The versions in uv's output, without local projects, which it prints as addresses."""
    for line in out.splitlines():
        try:
            found = Requirement(line.strip())
        except InvalidRequirement:
            continue
        for each in found.specifier:
            if each.operator == "==":
                yield normalize(found.name), each.version


_INHERITED = ("PATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG", "LC_ALL")


class UvFailed(ProxyError):
    """uv ended with an error."""

    def __init__(self, output: str) -> None:
        super().__init__(output)
        self.output = output
        """Standard error of uv, possibly cut short."""

    def __str__(self) -> str:
        return self.output or "uv failed without an error message"


def find_uv() -> str:
    """The path of the program. Raises ``ConfigurationError`` if it is not installed."""
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return str(find_uv_bin())
    if found := shutil.which("uv"):
        return found
    raise ConfigurationError(
        "uv",
        "these sources have to be resolved, and the resolver uv is not installed",
        f"{how_to_add('warm')}; or name lock files, if all their projects have wheels",
    )


@dataclass(frozen=True, slots=True)
class Uv:
    program: str
    index: str
    """The address of the only index that uv uses."""
    scratch: Path
    """The folder for uv's home, cache and working directory."""

    async def run(self, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
        """The standard output. Raises ``UvFailed``."""
        process = await asyncio.create_subprocess_exec(
            self.program,
            *arguments,
            "--default-index",
            self.index,
            "--quiet",
            cwd=self.scratch,
            env=self._environ() | dict(environ or {}),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            out, err = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise UvFailed(err.decode(errors="replace").strip()[:MAX_ERROR_OUTPUT])
        return out.decode(errors="replace")

    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _INHERITED if name in os.environ}
        return kept | {
            "HOME": str(self.scratch),
            "USERPROFILE": str(self.scratch),
            "NETRC": os.devnull,
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1",
            "PIP_CONFIG_FILE": os.devnull,
            "UV_CACHE_DIR": str(self.scratch / "cache"),
            "UV_HTTP_RETRIES": "0",  # the index retries by itself
            "UV_HTTP_TIMEOUT": "600",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
        }


_STOP_GRACE = 1.0
"""Seconds that the stopping server waits for the last requests of uv."""


@asynccontextmanager
async def serve_index(index: Index) -> AsyncIterator[str]:
    """While entered, the index is served; yields ``http://127.0.0.1:<port>/simple/``."""
    server: Server

    def address() -> str:
        return f"http://127.0.0.1:{server.port}/simple/"

    app = create_app({"": index}, index_url=address)  # without an access log
    server = Server(app, host="127.0.0.1", port=0, grace=_STOP_GRACE)
    await server.start()
    try:
        yield address()
    finally:
        await server.stop()
