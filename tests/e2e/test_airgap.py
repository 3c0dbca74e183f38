"""From a machine with a network to one without: warm, ready, bundle, import, and real installs.

The far side runs in a network namespace without routes if the system lets us make one; else
upstream has just ended. Locks are made against the address that the Waystation has on both
sides, since uv writes addresses into them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.distributions import core_metadata, make_wheel, tarred
from tests.support.fork_server import ROOT
from tests.support.requirement_sources import LINUX, MAC, WINDOWS
from tests.support.running import environment
from tests.support.sockets import free_port
from tests.support.upstream_process import run_upstream_process

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LIMIT = 240
OWN = f"cp3{sys.version_info.minor}"
PYTHONS = (f"3.{sys.version_info.minor}", f"3.{sys.version_info.minor + 1}")
TARGETS = [f"--python={each}" for each in PYTHONS]
TARGETS += [f"--platform={each}" for each in ("linux", "macos", "windows")]
SOURCES = ("uv/uv.lock", "uv/hashed.txt")
POETRY_SOURCES = ("poetry/poetry.lock",)
EXPECTED = {"alpha", "beta", "epsilon"}

PYPROJECT = """\
[project]
name = "house"
version = "1.0"
requires-python = ">=3.10"
dependencies = ["alpha", "beta", "epsilon", "gamma; sys_platform == 'win32'"]

"""
UV = PYPROJECT + "[tool.uv]\npackage = false\n"
POETRY = (
    PYPROJECT
    + """\
[tool.poetry]
package-mode = false

[[tool.poetry.source]]
name = "waystation"
url = "{index}"
priority = "primary"
"""
)
BACKEND = b"""
import pathlib, zipfile

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "epsilon-1.0-py3-none-any.whl"
    stem = "epsilon-1.0.dist-info"
    members = {
        "epsilon.py": pathlib.Path("epsilon.py").read_bytes(),
        f"{stem}/METADATA": pathlib.Path("PKG-INFO").read_bytes(),
        f"{stem}/WHEEL": b"Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
    }
    lines = [f"{each},," for each in (*members, f"{stem}/RECORD")]
    members[f"{stem}/RECORD"] = ("\\n".join(lines) + "\\n").encode()
    with zipfile.ZipFile(pathlib.Path(wheel_directory) / name, "w") as archive:
        for member, content in members.items():
            archive.writestr(member, content)
    return name
"""


class Far:
    """The side without a network."""

    def __init__(self, root: Path, port: int, upstream: str) -> None:
        self.root = root
        self.port = port
        self.upstream = upstream
        self.cache = root / "far"
        self.sources: tuple[str, ...] = SOURCES
        self.index = f"http://127.0.0.1:{port}/simple/"

    def run(self, *command: str | Path, cwd: Path, **more: str) -> str:
        """Run the command in isolation, with an offline server."""
        inside = (sys.executable, "-m", "tests.support.offline_namespace")
        served = (str(self.port), self.cache, self.upstream)
        return run(*ISOLATED, *inside, *served, *command, cwd=cwd, **more)


def run(*command: str | Path, cwd: Path, **more: str) -> str:
    done = subprocess.run(
        [str(each) for each in command],
        cwd=cwd,
        env=environment(cwd / "home", PYTHONPATH=str(ROOT), **more),
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, f"{command}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def waystation(*arguments: str | Path, cwd: Path) -> str:
    return run(sys.executable, "-m", "proxy", *arguments, cwd=cwd)


def _isolation() -> tuple[str, ...]:
    """The prefix of a command that runs in a network namespace with loopback alone, or nothing."""
    if not (shutil.which("unshare") and shutil.which("ip")):
        return ()
    wrapper = ("unshare", "--map-root-user", "--net", "sh", "-c", 'ip link set lo up && exec "$@"')
    tried = subprocess.run([*wrapper, "-", "true"], capture_output=True, check=False)
    return () if tried.returncode else (*wrapper, "-")


ISOLATED = _isolation()


def fill(index: Path) -> None:
    make_wheel(index, "alpha", "1.0")
    for python in (OWN, f"cp3{sys.version_info.minor + 1}"):
        for platform in (LINUX, MAC, WINDOWS):
            make_wheel(index, "beta", "1.0", tag=f"{python}-{python}-{platform}")
    make_wheel(index, "gamma", "1.0")
    make_wheel(
        index, "tiny-backend", "1.0", requires=["tiny-core"], files={"tiny_backend.py": BACKEND}
    )
    make_wheel(index, "tiny-core", "1.0")
    build = b'[build-system]\nrequires = ["tiny-backend"]\nbuild-backend = "tiny_backend"\n'
    members = {
        "epsilon-1.0/PKG-INFO": core_metadata("epsilon", "1.0", metadata_version="2.2"),
        "epsilon-1.0/pyproject.toml": build,
        "epsilon-1.0/epsilon.py": b"",
    }
    (index / "epsilon-1.0.tar.gz").write_bytes(tarred(members))


class Tool(NamedTuple):
    program: Path | None
    """None: it could not be installed."""
    reason: str


@pytest.fixture(scope="module")
def poetry(tmp_path_factory: pytest.TempPathFactory) -> Tool:
    folder = tmp_path_factory.mktemp("poetry")
    for command in (
        [sys.executable, "-m", "venv", str(folder)],
        [str(folder / "bin" / "pip"), "install", "-q", "poetry"],
    ):
        done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if done.returncode:
            return Tool(None, f"poetry could not be installed: {done.stderr.strip()[-200:]}")
    return Tool(folder / "bin" / "poetry", "")


@pytest.fixture(scope="module")
def far(tmp_path_factory: pytest.TempPathFactory, poetry: Tool) -> Iterator[Far]:
    root = tmp_path_factory.mktemp("airgap")
    index, port = root / "index", free_port()
    index.mkdir()
    fill(index)
    with run_upstream_process(index) as upstream:
        far = Far(root, port, upstream.url)
        lock(far, poetry)
        given = [*far.sources, *TARGETS, f"--upstream={upstream.url}", f"--cache-dir={root}/near"]
        waystation("warm", *given, cwd=root)
    waystation("ready", *given, "--install", cwd=root)
    waystation("bundle", "create", "house.bundle", *given, cwd=root)
    there = ("--upstream", upstream.url, "--cache-dir", far.cache)
    waystation("bundle", "import", "house.bundle", *there, cwd=root)
    yield far


def lock(far: Far, poetry: Tool) -> None:
    """Locks by uv and Poetry, and requirements with hashes, made through a Waystation."""
    for name, text in (("uv", UV), ("poetry", POETRY.format(index=far.index))):
        (far.root / name).mkdir()
        (far.root / name / "pyproject.toml").write_text(text)
    serve = [sys.executable, "-m", "proxy", "serve", "--port", str(far.port)]
    serve += ["--upstream", far.upstream, "--cache-dir", str(far.root / "locking")]
    with subprocess.Popen(
        serve,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        cwd=far.root,
        env=environment(far.root / "home", PYTHONPATH=str(ROOT)),
    ) as server:
        try:
            assert server.stdout
            assert server.stdout.readline()
            run("uv", "lock", cwd=far.root / "uv", **uv_environment(far))
            export = ("uv", "export", "--frozen", "-q", "--no-emit-project", "-o", "hashed.txt")
            run(*export, cwd=far.root / "uv", **uv_environment(far))
            if poetry.program:
                folder = far.root / "poetry"
                run(poetry.program, "lock", "-n", cwd=folder, **poetry_environment(far))
                far.sources += POETRY_SOURCES
        finally:
            server.terminate()


def uv_environment(far: Far) -> dict[str, str]:
    return {
        "UV_CACHE_DIR": str(far.root / "uv-cache"),
        "UV_DEFAULT_INDEX": far.index,
        "UV_PYTHON": sys.executable,
        "UV_PYTHON_DOWNLOADS": "never",
        "UV_NO_CONFIG": "1",
    }


def poetry_environment(far: Far, cache: str = "poetry-cache") -> dict[str, str]:
    return {
        "POETRY_CACHE_DIR": str(far.root / cache),
        "POETRY_VIRTUALENVS_IN_PROJECT": "true",
        "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring",
        "PYTHONWARNINGS": "default",
    }


def installed(venv: Path) -> set[str]:
    """Of the index's projects."""
    found = {each.name.split("-")[0] for each in venv.glob("lib/python*/site-packages/*.dist-info")}
    return found & (EXPECTED | {"gamma"})


def test_the_far_side_is_ready(far: Far) -> None:
    options = [f"--upstream={far.upstream}", f"--cache-dir={far.cache}"]
    given = ["-m", "proxy", "ready", *far.sources, *TARGETS, *options, "--verify", "--install"]
    assert not run(*ISOLATED, sys.executable, *given, cwd=far.root)


def test_uv_sync_frozen(far: Far) -> None:
    environ = uv_environment(far) | {"UV_CACHE_DIR": str(far.root / "uv-far")}
    far.run("uv", "sync", "--frozen", cwd=far.root / "uv", **environ)
    assert installed(far.root / "uv" / ".venv") == EXPECTED


def test_pip_install_require_hashes(far: Far) -> None:
    venv = far.root / "pip"
    run(sys.executable, "-m", "venv", venv, cwd=far.root)
    arguments = ("install", "--require-hashes", "--no-cache-dir", "-r", "uv/hashed.txt")
    environ = {"PIP_INDEX_URL": far.index, "PIP_CONFIG_FILE": os.devnull}
    environ |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONWARNINGS": "default"}
    far.run(venv / "bin" / "pip", *arguments, cwd=far.root, **environ)
    assert installed(venv) == EXPECTED


def test_poetry_install(far: Far, poetry: Tool) -> None:
    if poetry.program is None:
        pytest.skip(poetry.reason)
    environ = poetry_environment(far, "poetry-far")
    far.run(poetry.program, "install", "-n", cwd=far.root / "poetry", **environ)
    assert installed(far.root / "poetry" / ".venv") == EXPECTED


@pytest.mark.skipif(not ISOLATED, reason="no network namespace can be made here")
def test_the_far_side_has_no_network(far: Far) -> None:
    program = "import socket\ntry: socket.create_connection(('192.0.2.1', 80), 5)\n"
    program += "except OSError: print('no way')"
    assert "no way" in far.run(sys.executable, "-c", program, cwd=far.root)
