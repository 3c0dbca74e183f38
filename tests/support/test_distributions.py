"""The distributions that all tests rely on are real ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.distributions import make_sdist, make_wheel, wheel_metadata


def _installed(target: Path, *what: str | Path) -> None:
    command = [sys.executable, "-m", "pip", "install", "--no-index", "--no-cache-dir"]
    command += ["--disable-pip-version-check", "--target", str(target), *map(str, what)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_pip_installs_a_wheel(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "Foo.Bar", "1.0", padding=100_000, build="1")
    _installed(tmp_path / "there", wheel)
    assert "1.0" in (tmp_path / "there" / "foo_bar.py").read_text()
    assert wheel.name == "foo_bar-1.0-1-py3-none-any.whl"
    assert wheel.stat().st_size > 100_000


@pytest.mark.parametrize("fmt", ["tar.gz", pytest.param("zip", marks=pytest.mark.slow)])
def test_pip_builds_an_sdist_without_a_network(tmp_path: Path, fmt: str) -> None:
    make_wheel(tmp_path / "links", "tool", "3")
    sdist = make_sdist(tmp_path, "foo-bar", "1.0", fmt=fmt, build_requires=["tool"])  # type: ignore[arg-type]
    _installed(tmp_path / "there", "--find-links", tmp_path / "links", sdist)
    assert "1.0" in (tmp_path / "there" / "foo_bar.py").read_text()


def test_the_same_arguments_give_the_same_bytes(tmp_path: Path) -> None:
    for make in (make_wheel, make_sdist):
        first = make(tmp_path / "a", "x", "1", requires=["y"], requires_python=">=3.8")
        again = make(tmp_path / "b", "x", "1", requires=["y"], requires_python=">=3.8")
        assert first.read_bytes() == again.read_bytes()


def test_the_metadata_says_what_was_asked_for(tmp_path: Path) -> None:
    wheel = make_wheel(tmp_path, "x", "1", requires=["y>2"], requires_python=">=3.8")
    text = wheel_metadata(wheel).decode()
    assert "Requires-Dist: y>2\n" in text
    assert "Requires-Python: >=3.8\n" in text
