"""Resolving, which a real resolver does: through the index that is being asked, and no other."""

from __future__ import annotations

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

from packaging.requirements import InvalidRequirement, Requirement

from proxy.bundle.serving import serving
from proxy.bundle.targets import Target
from proxy.bundle.uv import Uv, find_uv
from proxy.bundle.wants import Requirements
from proxy.indexes.base import Index
from proxy.model import ProjectName, normalize

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
