"""Targets, file filters and documents for tests of sources; distributions; real tools."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from proxy.distributions.targets import parse_targets
from proxy.requirements.model import FileFilter, SourceRequirements
from proxy.requirements.sources.document import SourceDocument
from tests.support.distributions import make_sdist, make_wheel

LINUX = "manylinux_2_28_x86_64"
MAC = "macosx_14_0_arm64"
WINDOWS = "win_amd64"

PYPROJECT = """\
[project]
name = "house"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["alpha", "beta>=1", "gamma; sys_platform == 'win32'", "delta", "epsilon"]

[project.optional-dependencies]
more = ["zeta"]

[dependency-groups]
dev = ["eta"]

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
"""


def choice(
    pythons: tuple[str, ...] = ("3.12",), platforms: tuple[str, ...] = (LINUX,), **more: object
) -> FileFilter:
    return FileFilter(parse_targets(pythons, platforms), **more)  # type: ignore[arg-type]


def document(text: str | bytes, folder: Path | None = None, name: str = "given") -> SourceDocument:
    content = text if isinstance(text, bytes) else text.encode()
    return SourceDocument(name, folder or Path(), content)


def filenames(wants: SourceRequirements) -> set[str]:
    return {each.filename for each in wants.files}


def fill_index(folder: Path) -> None:
    """The distributions that ``PYPROJECT`` needs."""
    for name in ("alpha", "gamma", "zeta", "eta"):
        make_wheel(folder, name, "1.0")
    make_sdist(folder, "alpha", "1.0")
    for python in ("cp310", "cp311", "cp312"):
        for platform in (LINUX, MAC, WINDOWS):
            make_wheel(folder, "beta", "1.0", tag=f"{python}-{python}-{platform}")
    make_wheel(folder, "delta", "1.0", requires_python=">=3.8")
    make_wheel(folder, "delta", "2.0", requires_python=">=3.12")
    make_sdist(folder, "epsilon", "1.0", build_requires=["setuptools"])


def run(command: list[str], folder: Path, index: str = "http://127.0.0.1:1/simple/") -> str:
    """Run a tool of this environment with nothing of the user's configuration."""
    home = folder / ".home"
    home.mkdir(exist_ok=True)
    kept = {
        name: os.environ[name] for name in ("PATH", "TMPDIR", "SYSTEMROOT") if name in os.environ
    }
    environ = kept | {
        "HOME": str(home),
        "UV_CACHE_DIR": str(home / "uv"),
        "UV_NO_CONFIG": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_PYTHON": sys.executable,
        "UV_DEFAULT_INDEX": index,
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": index,
        "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    }
    done = subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
