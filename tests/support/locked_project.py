"""A project that real tools have locked, made once."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.support.requirement_sources import PYPROJECT, fill_index, run
from tests.support.upstream_process import run_upstream_process

UV = [sys.executable, "-m", "uv"]


@pytest.fixture(scope="session")
def locked_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``uv.lock``, ``pylock.toml`` by uv and by pip, and requirements with hashes."""
    folder = tmp_path_factory.mktemp("locked_project")
    index = tmp_path_factory.mktemp("index")
    fill_index(index)
    (folder / "pyproject.toml").write_text(PYPROJECT)
    with run_upstream_process(index) as upstream:
        run([*UV, "lock"], folder, upstream.url)
        everything = ["--all-extras", "--all-groups", "--no-emit-project", "-q"]
        for form, name in (("pylock.toml", "pylock.toml"), ("requirements-txt", "hashed.txt")):
            run([*UV, "export", *everything, "--format", form, "-o", name], folder, upstream.url)
        pip = [sys.executable, "-m", "pip", "lock", "-q", "-o", "pylock.pip.toml"]
        run([*pip, "alpha", "delta"], folder, upstream.url)
    return folder
