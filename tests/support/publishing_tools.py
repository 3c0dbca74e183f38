"""The tools that publish packages, as subprocesses: each publishes a project of its own."""

from __future__ import annotations

import subprocess
import sys
import venv
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.support.distributions import make_sdist, make_wheel
from tests.support.running import Done, command, environment

INSTALLED = ("flit", "poetry", "pdm", "hatch", "hishel<2")
"""What a test installs: PDM uses a class that a newer hishel does not have. twine and uv are in
the environment of the tests."""
_PROJECT = """\
[project]
name = "{name}"
version = "1.0"
description = "A project of a test"
requires-python = ">=3.9"
dependencies = [{requires}]
[build-system]
requires = ["flit_core"]
build-backend = "flit_core.buildapi"
"""


@dataclass(frozen=True)
class PublishingTools:
    """The folder of their commands; None if they could not be installed, with the reason."""

    folder: Path | None
    reason: str = ""


def fetch_publishing_tools(folder: Path) -> PublishingTools:
    """Install them into a virtual environment."""
    venv.create(folder, symlinks=True, with_pip=True)
    given: list[str | Path] = [folder / "bin" / "python", "-m", "pip", "install", "-q", *INSTALLED]
    try:
        done = subprocess.run(given, check=False, capture_output=True, text=True, timeout=400)
    except subprocess.TimeoutExpired:
        return PublishingTools(None, "the tools that publish took too long to install")
    if done.returncode:
        return PublishingTools(None, f"they could not be installed: {done.stderr.strip()[-200:]}")
    return PublishingTools(folder / "bin")


class Workplace:
    """A project folder of one user, who publishes to one address."""

    def __init__(self, folder: Path, tools: PublishingTools, ca: Path | None) -> None:
        """``ca``: the certificates to trust."""
        folder.mkdir()
        self.folder = folder
        self._tools = tools
        self.trusted = ca

    def project(self, name: str, requires: str = "") -> None:
        """A project of that name with a wheel and an sdist; another ``requires`` changes both."""
        listed = f'"{requires}"' if requires else ""
        (self.folder / "pyproject.toml").write_text(_PROJECT.format(name=name, requires=listed))
        (self.folder / f"{name.replace('-', '_')}.py").write_text('"""A module."""\n')
        dist = self.folder / "dist"
        make_wheel(dist, name, "1.0", requires=[requires] if requires else [])
        make_sdist(dist, name, "1.0", requires=[requires] if requires else [])

    @property
    def files(self) -> list[Path]:
        return sorted((self.folder / "dist").iterdir())

    async def run(self, tool: str, *arguments: str | Path, **more: str) -> Done:
        if tool == "twine":
            program: tuple[str | Path, ...] = (sys.executable, "-m", "twine")
        elif tool == "uv":
            program = (Path(sys.executable).parent / "uv",)
        else:
            assert self._tools.folder
            program = (self._tools.folder / tool,)
        trusted = dict.fromkeys(("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"), str(self.trusted))
        env = environment(self.folder / "home", **(trusted if self.trusted else {}), **more)
        return await command(*program, *arguments, env=env, cwd=self.folder)


Publish = Callable[[Workplace, str, str, tuple[str, ...]], Awaitable[Done]]
"""Publishes the files of a workplace to an upload address, beside the address of its pages."""


async def _twine(place: Workplace, url: str, _: str, more: tuple[str, ...]) -> Done:
    given = ("upload", "--repository-url", url, "-u", "any", "-p", "any", "--non-interactive")
    return await place.run("twine", *given, *more, *place.files)


async def _uv(place: Workplace, url: str, index: str, more: tuple[str, ...]) -> Done:
    given = ("publish", "--publish-url", url, "-u", "any", "-p", "any", "--check-url", index)
    return await place.run("uv", *given, *more, *place.files, UV_NO_CONFIG="1")


async def _flit(place: Workplace, url: str, _: str, more: tuple[str, ...]) -> Done:
    login = {"FLIT_INDEX_URL": url, "FLIT_USERNAME": "any", "FLIT_PASSWORD": "any"}
    return await place.run("flit", "publish", *more, **login)


async def _poetry(place: Workplace, url: str, _: str, more: tuple[str, ...]) -> Done:
    given = ("publish", "-r", "ours", "-u", "any", "-p", "any", "-n", *more)
    no_keyring = {"PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring"}
    ours = {"POETRY_REPOSITORIES_OURS_URL": url}
    if place.trusted:
        ours["POETRY_CERTIFICATES_OURS_CERT"] = str(place.trusted)
    return await place.run("poetry", *given, **ours, **no_keyring)


async def _pdm(place: Workplace, url: str, _: str, more: tuple[str, ...]) -> Done:
    given = ("publish", "--no-build", "-r", url, "-u", "any", "-P", "any", *more)
    own = {"PDM_CHECK_UPDATE": "false", "PDM_PYTHON": sys.executable}
    ca = ("--ca-certs", place.trusted) if place.trusted else ()
    return await place.run("pdm", *given, *ca, **own)


async def _hatch(place: Workplace, url: str, _: str, more: tuple[str, ...]) -> Done:
    given = ("publish", "-n", "-r", url, "-u", "any", "-a", "any", *more)
    ca = ("--ca-cert", place.trusted) if place.trusted else ()
    return await place.run("hatch", *given, *ca, *place.files)


TOOLS: Mapping[str, Publish] = {
    "twine": _twine,
    "uv": _uv,
    "flit": _flit,
    "poetry": _poetry,
    "pdm": _pdm,
    "hatch": _hatch,
}
