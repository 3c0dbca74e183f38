"""Real installs by pip and uv in clean surroundings: nothing cached, nothing configured."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from benchmarks.processes import Broken, clean_environment

Tool = Literal["pip", "old-pip", "uv"]
OLD_PIP = "pip==23.2.1"
"""One of those that send ``Cache-Control: max-age=0`` with every page."""
LIMIT = 300.0
"""Seconds an install may take."""


def install(
    tool: Tool, index: str, names: Sequence[str], scratch: Path, python: str = sys.executable
) -> float:
    """Seconds until the projects and all they depend on are installed below ``scratch``.

    ``python`` is the one that has the pip, ``index`` the root of the simple API. Raises
    ``Broken`` if the install fails.
    """
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir(parents=True)
    environment = clean_environment(scratch) | {
        "TMPDIR": str(scratch),
        "PIP_CONFIG_FILE": "/dev/null",
    }
    command = [*_COMMANDS[tool](index, python), "--target", str(scratch / "target"), *names]
    began = time.perf_counter()
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
    )
    seconds = time.perf_counter() - began
    if done.returncode:
        raise Broken(f"{tool} failed with {index}:\n{done.stdout[-1000:]}{done.stderr[-2000:]}")
    shutil.rmtree(scratch)
    return seconds


def old_pip_python(folder: Path) -> str:
    """The Python of an environment with the old pip, made at the first use."""
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
        subprocess.run([python, "-m", "pip", "install", "--quiet", OLD_PIP], check=True)
    return str(python)


def _pip(index: str, python: str) -> list[str]:
    options = "--no-cache-dir --no-compile --disable-pip-version-check --no-input --quiet"
    return [python, "-m", "pip", "install", *options.split(), "--index-url", index]


def _uv(index: str, python: str) -> list[str]:
    beside = str(Path(sys.executable).parent)
    uv = shutil.which("uv", path=beside) or shutil.which("uv")
    if uv is None:
        raise Broken("uv is not installed")
    options = ["--no-cache", "--no-config", "--quiet", "--python", python]
    return [uv, "pip", "install", *options, "--default-index", index]


_COMMANDS = {"pip": _pip, "old-pip": _pip, "uv": _uv}
