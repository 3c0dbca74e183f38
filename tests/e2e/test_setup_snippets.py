"""What ``/-/setup`` shows is run as written, by the tools themselves, with its proof."""

from __future__ import annotations

import html
import json
import os
import re
import shutil
import sys
import venv
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import pip
import pytest
import pytest_asyncio
import yaml

from tests.support.distributions import make_sdist, make_wheel
from tests.support.running import PATH, Done, Running, command, environment, running
from tests.support.upstream import Upstream

pytestmark = [pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]
PROJECT = """\
[project]
name = "application"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["six"]
"""


class Shown(NamedTuple):
    """The commands of a page, and the one that proves that they work."""

    blocks: list[str]
    proof: str


class Setup(NamedTuple):
    server: Running
    folder: Path

    @property
    def authority(self) -> str:
        return self.server.address.removeprefix("http://")

    async def shown(self, tool: str) -> Shown:
        address = f"{self.server.address}/-/setup?tool={tool}"
        async with aiohttp.ClientSession() as client, client.get(address) as page:
            text = await page.text()
        found = re.findall(r"<pre data-copyable=\"[^\"]*\">(.*?)</pre>", text, re.DOTALL)
        blocks = [html.unescape(each).replace("NAME", "six") for each in found]
        return Shown(blocks[:-1], blocks[-1])

    def machine(self, name: str, *, tools: Path | None = None) -> ShellMachine:
        folder = self.folder / name
        folder.mkdir()
        active = folder / "venv"
        activate(active)
        path = f"{active / 'bin'}:{tools or active / 'bin'}:{PATH}"
        env = environment(folder / "home", PATH=path, VIRTUAL_ENV=str(active))
        return ShellMachine(folder, env | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"})


def activate(folder: Path) -> None:
    """A virtual environment with the pip of this one, as installing one takes long."""
    venv.create(folder, symlinks=True)
    (site,) = folder.glob("lib/python*/site-packages")
    (site / "pip").symlink_to(Path(pip.__file__).parent)
    program = folder / "bin/pip"
    work = "import sys\nfrom pip._internal.cli.main import main\nsys.exit(main())\n"
    program.write_text(f"#!{folder}/bin/python\n{work}")
    program.chmod(0o755)


class ShellMachine(NamedTuple):
    """A folder, a home without settings, and a virtual environment that is active."""

    folder: Path
    env: dict[str, str]

    async def run(self, *lines: str, **more: str) -> Done:
        script = "\n".join(["set -e -o pipefail", *lines])
        return await command("bash", "-c", script, env=self.env | more, cwd=self.folder)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setup(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setup]:
    folder = tmp_path_factory.mktemp("setup")
    (folder / "packages").mkdir()
    async with Upstream() as upstream:
        upstream.add(make_wheel(folder / "made", "six", "1.17.0"))
        given = ("--upstream", upstream.url, "--packages", folder / "packages")
        async with running(folder, *given, WAYSTATION_UPLOADS="true") as server:
            yield Setup(server, folder)


async def test_pip(setup: Setup) -> None:
    shown = await setup.shown("pip")
    once, configured, variable = shown.blocks
    (await setup.machine("pip-once").run(once)).succeeded()
    for number, block in enumerate((configured, variable)):
        done = await setup.machine(f"pip-{number}").run(block, shown.proof)
        assert f"Looking in indexes: {setup.server.index}" in done.succeeded().out


async def test_uv(setup: Setup) -> None:
    shown = await setup.shown("uv")
    once, variable, table = shown.blocks
    (await setup.machine("uv-once").run(once)).succeeded()
    done = await setup.machine("uv-variable").run(variable, shown.proof)
    assert setup.server.index in done.succeeded().out
    project = setup.machine("uv-project")
    (project.folder / "pyproject.toml").write_text(f"{PROJECT}\n{table}\n")
    done = await project.run(shown.proof, "uv lock -q", "cat uv.lock")
    assert f'registry = "{setup.server.index}"' in done.succeeded().out


@pytest.mark.timeout(600)  # the tools are installed first
async def test_poetry_and_pdm(setup: Setup, poetry_and_pdm: Path) -> None:
    for tool in ("poetry", "pdm"):
        shown = await setup.shown(tool)
        place = setup.machine(tool, tools=poetry_and_pdm)
        (place.folder / "pyproject.toml").write_text(PROJECT)
        done = await place.run(shown.blocks[0], shown.proof)
        assert setup.authority in done.succeeded().out
        assert "six" in (place.folder / f"{tool}.lock").read_text()
    place = setup.machine("pdm-project", tools=poetry_and_pdm)
    (place.folder / "pyproject.toml").write_text(f"{PROJECT}\n{shown.blocks[1]}\n")
    done = await place.run(shown.proof.partition(" && ")[2])
    assert setup.authority in done.succeeded().out


async def test_twine(setup: Setup) -> None:
    shown = await setup.shown("twine")
    place = setup.machine("twine")
    make_wheel(place.folder / "dist", "acme-tool", "1.0")
    make_sdist(place.folder / "dist", "acme-tool", "1.0")
    check, upload = (each.removeprefix("python -m build && ") for each in shown.blocks)
    given = upload.replace("twine upload", "twine upload --non-interactive -u any -p any")
    assert given != upload  # credentials, which twine asks for, are not wanted here
    done = await place.run(
        check.replace("--strict ", ""), given, shown.proof.replace("six", "acme-tool")
    )
    assert "acme_tool-1.0-py3-none-any.whl" in done.succeeded().out


async def test_github_actions(setup: Setup) -> None:
    shown = await setup.shown("github")
    (workflow,) = shown.blocks
    given = yaml.safe_load(workflow)["env"]
    steps = yaml.safe_load(shown.proof)
    done = await setup.machine("github").run(*(each["run"] for each in steps), **_strings(given))
    assert f"Looking in indexes: {setup.server.index}" in done.succeeded().out


async def test_gitlab_ci(setup: Setup) -> None:
    shown = await setup.shown("gitlab")
    given = yaml.safe_load(shown.blocks[0])["variables"]
    (job,) = yaml.safe_load(shown.proof).values()
    done = await setup.machine("gitlab").run(*job["script"], **_strings(given))
    assert f"Looking in indexes: {setup.server.index}" in done.succeeded().out
    assert list((setup.folder / "gitlab/check").glob("six-*.whl"))


CONTAINER = """\
docker() { shift; buildah --root "$PWD/root" --runroot "$PWD/run" --storage-driver vfs bud \\
  --isolation chroot -v /usr:/usr:ro -v /lib:/lib:ro -v /bin:/bin:ro -v /lib64:/lib64:ro \\
  -v "$BASE:$BASE:ro" -v "$PWD/venv:/venv" "${@/--progress=plain/--quiet=false}"; }
"""
"""Docker's command by buildah, without a daemon: an image of this machine's system and pip."""


@pytest.mark.skipif(
    not shutil.which("buildah") or os.geteuid() != 0,
    reason="building an image here needs root and buildah",
)
async def test_docker_builds_from_this_index(setup: Setup) -> None:
    shown = await setup.shown("docker")
    dockerfile, build = shown.blocks
    place = setup.machine("docker-build")
    program = place.folder / "venv/bin/pip"
    program.write_text(program.read_text().replace(str(place.folder), ""))
    (site,) = place.folder.glob("venv/lib/python*/site-packages")
    (site / "pip").unlink()
    shutil.copytree(Path(pip.__file__).parent, site / "pip")
    head = f"FROM scratch\nENV PATH=/venv/bin:{PATH}\n"
    (place.folder / "Dockerfile").write_text(f"{head}{dockerfile}\n")
    done = await place.run(
        CONTAINER, build, "ls venv/lib/python*/site-packages", shown.proof, BASE=sys.base_prefix
    )
    assert f"Looking in indexes: {setup.server.index}" in done.succeeded().out
    assert "six-1.17.0.dist-info" in done.out


async def test_docker_and_renovate_have_what_these_read(setup: Setup) -> None:
    """Everywhere: the file and the command of one, and the settings of the other, are read."""
    dockerfile, build = (await setup.shown("docker")).blocks
    lines = [line.split(maxsplit=1) for line in dockerfile.splitlines()]
    arguments = [value for instruction, value in lines if instruction == "ARG"]
    assert lines[-1] == ["RUN", "pip install --no-cache-dir six"]
    given = dict(re.findall(r"--build-arg (\w+)=(\S+)", build))
    assert given == dict.fromkeys(("PIP_INDEX_URL", "UV_DEFAULT_INDEX"), setup.server.index)
    assert set(given) <= set(arguments) and "--network=host" in build
    run = setup.machine("docker").run(lines[-1][1], **given)
    (await run).succeeded()
    (renovate,) = (await setup.shown("renovate")).blocks
    rule = json.loads(renovate)["packageRules"][0]
    assert rule == {"matchDatasources": ["pypi"], "registryUrls": [setup.server.index]}


def _strings(values: dict[str, Any]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}
