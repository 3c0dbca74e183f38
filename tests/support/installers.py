"""pip, an old pip and uv as subprocesses, as on a machine that has no settings of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pip

from tests.support.running import PATH, Done, command, environment

OLD_PIP = "pip==21.3.1"
"""The last but one that knows no JSON, only ``text/html``."""


_CAPTURED: dict[str, Any] = {"capture_output": True, "text": True, "timeout": 120}


@dataclass(frozen=True)
class Tools:
    """The newest pip, and a folder for an old one: None if no test asks for that."""

    newest: Path
    folder: Path | None = None

    @cached_property
    def old(self) -> tuple[Path | None, str]:
        """The folder of a pip that is installed now; None if that fails, with the reason."""
        assert self.folder
        if sys.version_info >= (3, 12):
            return None, "a pip that knows no JSON does not run on this Python"
        return _fetched(self.folder / "old", OLD_PIP)


def fetch_tools(folder: Path) -> Tools:
    """The pip of this environment alone, and an old one once a test asks for it."""
    return Tools(newest_pip(folder), folder)


def newest_pip(folder: Path) -> Path:
    """The pip of this environment, in a folder of its own: it takes no package beside that."""
    newest = folder / "newest" / "pip"
    newest.parent.mkdir()
    newest.symlink_to(Path(pip.__file__).parent)
    return newest


def _fetched(folder: Path, requirement: str) -> tuple[Path | None, str]:
    given = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*given, requirement], check=False, **_CAPTURED)
    if done.returncode:
        return None, f"{requirement} could not be installed: {done.stderr.strip()[-200:]}"
    return folder / "pip", ""


class Place:
    """A virtual environment of its own, and the installers that fill it."""

    def __init__(self, folder: Path, tools: Tools) -> None:
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.home = folder / "home"
        self._tools = tools
        venv.create(folder / "venv", symlinks=True)
        self.python = folder / "venv" / "bin" / "python"

    async def install(self, tool: str, index: str, *arguments: str | Path) -> Done:
        """``tool`` is ``pip``, ``old pip`` or ``uv``; only ``index`` is asked."""
        if tool == "uv":
            return await self.uv("pip", "install", "--index-url", index, *arguments)
        given = ("install", "--index-url", index, "--retries", "0", *arguments)
        return await self.pip(*given, old=tool == "old pip")

    async def pip(
        self,
        *arguments: str | Path,
        old: bool = False,
        cache: bool = False,
        path: Path | None = None,
    ) -> Done:
        """``cache``: keep what is fetched for the next time. ``path``: a folder of programs."""
        program = self._tools.old[0] if old else self._tools.newest
        assert program
        more = {
            "PIP_CONFIG_FILE": "/dev/null",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "PIP_RESUME_RETRIES": "0",
        }
        if not cache:
            more["PIP_NO_CACHE_DIR"] = "1"
        if path:
            more["PATH"] = f"{path}:{PATH}"
        return await self._run(self.python, program, *arguments, more=more)

    async def uv(
        self,
        *arguments: str | Path,
        cwd: Path | None = None,
        ca: Path | None = None,
        retries: int = 0,
        path: Path | None = None,
        more: Mapping[str, str] = {},
    ) -> Done:
        """``ca``: the certificates to trust. ``path``: a folder of programs. ``more`` is for the
        environment.
        """
        env = {
            "UV_CACHE_DIR": str(self.folder / "uv"),
            "UV_HTTP_RETRIES": str(retries),
            "UV_NO_CONFIG": "1",
            "UV_PYTHON": str(self.python),
            "UV_PYTHON_DOWNLOADS": "never",
            "VIRTUAL_ENV": str(self.folder / "venv"),
        }
        if ca:
            env["SSL_CERT_FILE"] = str(ca)
        if path:
            env["PATH"] = f"{path}:{PATH}"
        uv = Path(sys.executable).parent / "uv"
        return await self._run(uv, *arguments, more={**env, **more}, cwd=cwd)

    def installed(self) -> dict[str, str]:
        """Versions by project, as the names of ``.dist-info`` directories have them."""
        found = self.folder.glob("venv/lib/python*/site-packages/*.dist-info")
        return dict(each.name.removesuffix(".dist-info").split("-") for each in found)

    async def _run(
        self, *arguments: str | Path, more: Mapping[str, str], cwd: Path | None = None
    ) -> Done:
        env = environment(self.home, **more)
        return await command(*arguments, env=env, cwd=cwd or self.folder, limit=120)
