"""A fake PyPI, a real server that mirrors it, and real installers that use the server."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from tests.support.distributions import make_wheel
from tests.support.installers import Place, Tools, fetch_tools
from tests.support.upstream import Upstream


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.nodeid.startswith("tests/e2e/"):
            item.add_marker(pytest.mark.e2e)


@pytest.fixture(scope="session")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Tools:
    return fetch_tools(tmp_path_factory.mktemp("tools"))


_SLOW_TOOLS = [pytest.param(name, marks=pytest.mark.slow) for name in ("pip", "old pip")]
"""An install takes uv 0.1 s of CPU, and pip 0.8 s; ``test_installs.py`` has pip among the fast."""


@pytest.fixture(params=[*_SLOW_TOOLS, "uv"])
def tool(request: pytest.FixtureRequest, tools: Tools) -> str:
    if request.param == "old pip" and tools.old[0] is None:
        pytest.skip(tools.old[1])
    name: str = request.param
    return name


@pytest.fixture
def place(tmp_path: Path, tools: Tools) -> Callable[[], Place]:
    """Makes new places to install to."""
    made: list[Place] = []

    def make() -> Place:
        folder = tmp_path / f"place-{len(made)}"
        folder.mkdir()
        made.append(Place(folder, tools))
        return made[-1]

    return make


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with Upstream() as running:
        yield running


@pytest.fixture
def chain(upstream: Upstream, tmp_path: Path) -> dict[str, str]:
    """Three projects, each of which requires the next; versions by name."""
    for name, requires in (("aaa", ["bbb>=1"]), ("bbb", ["ccc"]), ("ccc", [])):
        for version in ("0.9", "1.0"):
            upstream.add(make_wheel(tmp_path / "dist", name, version, requires=requires))
    return {"aaa": "1.0", "bbb": "1.0", "ccc": "1.0"}


@pytest.fixture(scope="session")
def poetry_and_pdm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tools")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    given = [str(folder / "bin/pip"), "install", "-q", "poetry", "pdm", "hishel<2"]
    done = subprocess.run(given, check=False, capture_output=True, text=True, timeout=400)
    if done.returncode:
        pytest.skip(f"the tools could not be installed: {done.stderr.strip()[-200:]}")
    return folder / "bin"
