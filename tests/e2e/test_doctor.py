"""``waystation doctor`` names the index that pip, uv and Poetry ask by the same settings."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.distributions import make_wheel
from tests.support.running import Done, command, environment, waystation
from tests.support.upstream import Upstream

A, B = "{a}", "{b}"
"""Addresses of two indexes, in files and variables."""
PIP = {
    "a variable before a file": (
        {"home/.config/pip/pip.conf": "[global]\nindex-url = {b}"},
        {"PIP_INDEX_URL": A},
    ),
    "a section of the command before all": (
        {
            "home/.config/pip/pip.conf": "[download]\nindex-url = {a}",
            "file.conf": "[global]\nindex-url = {b}",
        },
        {"PIP_CONFIG_FILE": "{folder}/file.conf"},
    ),
    "the file of a variable alone": (
        {
            "home/.config/pip/pip.conf": "[download]\nindex-url = {b}",
            "file.conf": "[global]\nindex-url = {a}",
        },
        {"PIP_CONFIG_FILE": "{folder}/file.conf"},
    ),
    "the newer folder of a user": (
        {
            "home/.config/pip/pip.conf": "[global]\nindex-url = {a}",
            "home/.pip/pip.conf": "[global]\nindex-url = {b}",
        },
        {},
    ),
}
UV = {
    "a variable before a project": ({"uv.toml": "index-url = '{b}'"}, {"UV_DEFAULT_INDEX": A}),
    "a project before a user": (
        {
            "pyproject.toml": "[[tool.uv.index]]\nurl = '{a}'\ndefault = true",
            "home/.config/uv/uv.toml": "index-url = '{b}'",
        },
        {},
    ),
    "uv.toml before pyproject.toml": (
        {
            "uv.toml": "[[index]]\nurl = '{a}'\ndefault = true",
            "pyproject.toml": "[[tool.uv.index]]\nurl = '{b}'\ndefault = true",
        },
        {},
    ),
    "the table of uv pip": (
        {"uv.toml": "index-url = '{b}'\n[pip]\nindex-url = '{a}'"},
        {},
    ),
    "a user": ({"home/.config/uv/uv.toml": "index-url = '{a}'"}, {}),
    "one file that is named": (
        {"other.toml": "index-url = '{a}'", "uv.toml": "index-url = '{b}'"},
        {"UV_CONFIG_FILE": "{folder}/other.toml"},
    ),
}
POETRY = """\
[project]
name = "application"
version = "1.0"
requires-python = ">=3.11"
dependencies = ["six"]
[tool.poetry]
package-mode = false
[[tool.poetry.source]]
name = "a"
url = "{a}"
[[tool.poetry.source]]
name = "b"
url = "{b}"
priority = "explicit"
"""


class Indexes(NamedTuple):
    a: Upstream
    b: Upstream

    def fill(self, text: str, folder: Path) -> str:
        filled = text.replace(A, self.a.url).replace(B, self.b.url)
        return filled.replace("{folder}", str(folder))

    def asked(self) -> list[str]:
        return [each.url for each in self if each.requests]


@pytest.fixture
async def indexes(tmp_path: Path) -> AsyncIterator[Indexes]:
    async with Upstream() as a, Upstream() as b:
        for each in (a, b):
            each.add(make_wheel(tmp_path / "made", "six", "1.17.0"))
        yield Indexes(a, b)


async def look(
    folder: Path,
    indexes: Indexes,
    files: Mapping[str, str],
    variables: Mapping[str, str],
    *arguments: str,
) -> tuple[Done, Done]:
    """The command of a tool, and what the doctor says, with the same settings."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(indexes.fill(text, folder))
    given = {name: indexes.fill(value, folder) for name, value in variables.items()}
    home = environment(folder / "home", **given)
    tool = await command(*arguments, env=home, cwd=folder)
    doctor = await waystation("doctor", "--via", "http://127.0.0.1:1", cwd=folder, **given)
    return tool, doctor


@pytest.mark.parametrize("case", PIP)
async def test_pip_asks_what_the_doctor_says(tmp_path: Path, indexes: Indexes, case: str) -> None:
    download = ("download", "--no-deps", "--no-cache-dir", "-d", "here", "six")
    tool, doctor = await look(
        *(tmp_path / "client", indexes, *PIP[case], sys.executable, "-m", "pip", *download)
    )
    tool.succeeded()
    (asked,) = indexes.asked()
    assert f"pip asks {asked} (" in doctor.out


@pytest.mark.parametrize("case", UV)
async def test_uv_asks_what_the_doctor_says(tmp_path: Path, indexes: Indexes, case: str) -> None:
    folder = tmp_path / "client"
    folder.mkdir()
    (folder / "requirements.in").write_text("six\n")
    uv = str(Path(sys.executable).parent / "uv")
    compile_ = ("pip", "compile", "--no-cache", "-q", "requirements.in")
    tool, doctor = await look(folder, indexes, *UV[case], uv, *compile_)
    tool.succeeded()
    (asked,) = indexes.asked()
    assert f"uv asks {asked} (" in doctor.out


@pytest.mark.slow
@pytest.mark.timeout(600)  # the tool may be installed first
async def test_poetry_asks_what_the_doctor_says(
    tmp_path: Path, indexes: Indexes, poetry_and_pdm: Path
) -> None:
    files = {"pyproject.toml": POETRY}
    poetry = str(poetry_and_pdm / "poetry")
    tool, doctor = await look(tmp_path / "client", indexes, files, {}, poetry, "lock")
    tool.succeeded()
    (asked,) = indexes.asked()
    assert f"Poetry asks {asked} (" in doctor.out
    assert f"explicit source = {indexes.b.url}" in doctor.out


async def test_files_beside_the_index_and_a_keyring_that_is_missing_are_named(
    tmp_path: Path,
) -> None:
    given = {
        "PIP_FIND_LINKS": "https://files.example.com/",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_KEYRING_PROVIDER": "subprocess",
        "PIP_PROXY": "http://proxy.example.com:3128",
        "PATH": "/nowhere",
    }
    done = await waystation("doctor", cwd=tmp_path, **given)
    assert done.status == 1
    assert "pip also takes files from https://files.example.com/ (PIP_FIND_LINKS)" in done.out
    assert "uv takes the best version of all its indexes: unsafe-best-match" in done.out
    assert "uv is set to ask keyring for passwords (UV_KEYRING_PROVIDER)" in done.out
    assert "pip connects through the proxy http://proxy.example.com:3128" in done.out
