"""Folders that may only be read, by their permissions, which for root do not count as such."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

_BEYOND = "-dac_override,-dac_read_search"
"""What makes root read and write what its permissions forbid."""
_LIMITED = ("setpriv", f"--bounding-set={_BEYOND}", f"--inh-caps={_BEYOND}", "--")


@contextmanager
def readable_alone(folder: Path) -> Iterator[tuple[str, ...]]:
    """While entered nothing in the folder can be written by commands that begin so."""
    _allow(folder, 0o555, 0o444)
    try:
        yield _limited(folder)
    finally:
        _allow(folder, 0o755, 0o644)


def _limited(folder: Path) -> tuple[str, ...]:
    """Skips the test where root cannot be kept from writing."""
    if os.geteuid() != 0:
        return ()
    try:
        done = subprocess.run([*_LIMITED, "test", "-w", folder], check=False, capture_output=True)
    except OSError:
        pytest.skip("setpriv is not here to keep root from writing")
    if done.returncode != 1 or done.stderr:
        pytest.skip("root cannot be kept from writing here")
    return _LIMITED


def _allow(folder: Path, folders: int, files: int) -> None:
    for path in (folder, *folder.rglob("*")):
        path.chmod(folders if path.is_dir() else files)
