"""uv as a subprocess: found, and run with nothing of the user's configuration around it."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from proxy.errors import ConfigurationError, ProxyError, how_to_add

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
