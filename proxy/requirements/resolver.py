"""Resolving, which a real resolver does: through the index that is being asked, and no other.

uv as a subprocess: found, and run with nothing of the user's configuration around it.

An index on a free port of 127.0.0.1, for tools that run as subprocesses.
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
from proxy.requirements.model import Requirements
from proxy.web import Server, create_app

Version = tuple[ProjectName, str]

_SDISTS = {
    "also": (),
    "none": ("--only-binary", ":all:"),
    "only": ("--no-binary", ":all:"),
}
_AT_ONCE = 4


class Resolver:
    """While entered, resolves requirements; the first of them starts what that needs."""

    def __init__(self, index: Index, sdists: Literal["also", "none", "only"] = "also") -> None:
        self._index = index
        self._sdists = sdists
        self._stack = AsyncExitStack()
        self._starting = asyncio.Lock()
        self._slots = asyncio.Semaphore(_AT_ONCE)
        self._uv: Uv | None = None
        self._count = 0

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        await self._stack.aclose()

    async def resolve(
        self, asked: Requirements, target: Target, *, dependencies: bool = True
    ) -> list[Version]:
        """The versions that are to be installed there.

        Raises ``UvFailed``, and ``ConfigurationError`` where there is no resolver or it does
        not know the platform.
        """
        uv = await self.started()
        arguments = [*self._kinds(asked), *target.uv_arguments()]
        arguments += [] if dependencies else ["--no-deps"]
        arguments += ["--prerelease", "allow"] if asked.prereleases else []
        wanted, constraints = self._written(uv.scratch, asked)
        async with self._slots:
            out = await uv.run(
                [
                    *("pip", "compile", "--no-header", "--no-annotate"),
                    *(*arguments, "--constraints", str(constraints), str(wanted)),
                ],
                target.uv_environment(),
            )
        return list(_versions(out))

    async def install(self, asked: Requirements, *, dependencies: bool = True) -> None:
        """Into a fresh environment for the Python that runs this. Raises ``UvFailed``."""
        uv = await self.started()
        wanted, constraints = self._written(uv.scratch, asked)
        folder = wanted.with_suffix("")
        arguments = [*self._kinds(asked), "--constraints", str(constraints), "-r", str(wanted)]
        arguments += [] if dependencies else ["--no-deps"]
        arguments += ["--prerelease", "allow"] if asked.prereleases else []
        await uv.run(["venv", "--python", sys.executable, str(folder)])
        await uv.run(["pip", "install", "--python", str(folder), *arguments])

    async def started(self) -> Uv:
        """The resolver with a cache of its own. Raises ``ConfigurationError``."""
        async with self._starting:
            if self._uv is None:
                program = find_uv()
                folder = tempfile.TemporaryDirectory(
                    prefix="waystation-", ignore_cleanup_errors=True
                )
                scratch = Path(self._stack.enter_context(folder))
                address = await self._stack.enter_async_context(serving(self._index))
                self._uv = Uv(program, address, scratch)
        return self._uv

    def _kinds(self, asked: Requirements) -> tuple[str, ...]:
        return _SDISTS[asked.choice.sdists if asked.choice else self._sdists]

    def _written(self, scratch: Path, asked: Requirements) -> tuple[Path, Path]:
        self._count += 1
        wanted = scratch / f"{self._count}.in"
        constraints = scratch / f"{self._count}-constraints.txt"
        wanted.write_text(asked.text, encoding="utf-8")
        constraints.write_text(asked.constraints, encoding="utf-8")
        return wanted, constraints


def _versions(out: str) -> Iterator[Version]:
    """Local projects, which come back as addresses, are left out."""
    for line in out.splitlines():
        try:
            found = Requirement(line.strip())
        except InvalidRequirement:
            continue
        for each in found.specifier:
            if each.operator == "==":
                yield normalize(found.name), each.version


_KEPT = ("PATH", "TMPDIR", "TEMP", "TMP", "SYSTEMROOT", "LANG", "LC_ALL")
_TOLD = 4000
"""Characters of an error message that are kept."""


class UvFailed(ProxyError):
    """uv ended with an error."""

    def __init__(self, told: str) -> None:
        super().__init__(told)
        self.told = told
        """What it said."""

    def __str__(self) -> str:
        return self.told or "uv failed and did not say why"


def find_uv() -> str:
    """The program. Raises ``ConfigurationError`` where it is not installed."""
    with suppress(ImportError, FileNotFoundError):
        from uv import find_uv_bin

        return str(find_uv_bin())
    if found := shutil.which("uv"):
        return found
    raise ConfigurationError(
        "uv",
        "something has to be resolved, and the resolver is not installed",
        f"{how_to_add('warm')}; or name lock files whose projects all have wheels",
    )


@dataclass(frozen=True, slots=True)
class Uv:
    program: str
    index: str
    """The address of the one index it knows."""
    scratch: Path
    """A folder of its own: home, cache and working directory."""

    async def run(self, arguments: Sequence[str], environ: Mapping[str, str] | None = None) -> str:
        """What it wrote to standard output. Raises ``UvFailed``."""
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
            out, told = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            raise
        if process.returncode:
            raise UvFailed(told.decode(errors="replace").strip()[:_TOLD])
        return out.decode(errors="replace")

    def _environ(self) -> dict[str, str]:
        kept = {name: os.environ[name] for name in _KEPT if name in os.environ}
        return kept | {
            "HOME": str(self.scratch),
            "USERPROFILE": str(self.scratch),
            "NETRC": os.devnull,
            "NO_COLOR": "1",
            "NO_PROXY": "127.0.0.1",
            "PIP_CONFIG_FILE": os.devnull,
            "UV_CACHE_DIR": str(self.scratch / "cache"),
            "UV_HTTP_RETRIES": "0",  # whoever is asked has tried again itself
            "UV_HTTP_TIMEOUT": "600",
            "UV_NO_CONFIG": "1",
            "UV_NO_PROGRESS": "1",
            "UV_PYTHON": sys.executable,
            "UV_PYTHON_DOWNLOADS": "never",
        }


_GRACE = 1.0
"""Seconds for requests of tools that are gone."""


@asynccontextmanager
async def serving(index: Index) -> AsyncIterator[str]:
    """The address of the index, ``http://127.0.0.1:<port>/simple/``."""
    server: Server

    def address() -> str:
        return f"http://127.0.0.1:{server.port}/simple/"

    app = create_app(index, index_url=address, logged=False)  # nobody's requests but our own
    server = Server(app, host="127.0.0.1", port=0, grace=_GRACE)
    await server.start()
    try:
        yield address()
    finally:
        await server.stop()
