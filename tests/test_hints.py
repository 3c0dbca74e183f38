"""Commands in texts for users: none would fetch a stranger's package."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from proxy.config.settings import Settings
from proxy.errors import how_to_add

ROOT = Path(__file__).parents[1]
FROM_AN_INDEX = re.compile(
    r"(pip|pipx|tool) install\b[^\n]*[\s'\"]waystation(\[|['\"\s]|$)|install waystation\["
    r"|(uvx|pipx run) waystation"
)
REPR_OF_ERROR = re.compile(r"\{(error|exc|err|trouble|cause|each_error)!r\}|%r[^\n]*, error\b")


def texts() -> dict[str, str]:
    """Every file of the project that people read or run, but no test."""
    listed = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, check=False, capture_output=True, text=True
    ).stdout.split("\n")
    names = [name for name in listed if name and not name.startswith(("tests/", "benchmarks/"))]
    if not names:
        pytest.skip("this is no checkout")
    text_files = [name for name in names if not name.endswith((".png", ".json"))]
    return {name: (ROOT / name).read_text() for name in text_files if (ROOT / name).is_file()}


def test_no_text_says_to_install_the_name_from_an_index() -> None:
    found = [
        f"{name}: {line}"
        for name, text in texts().items()
        for line in text.splitlines()
        if FROM_AN_INDEX.search(line) and "--no-index" not in line
    ]
    assert found == []


def test_every_variable_that_people_copy_is_a_setting() -> None:
    copied = {
        variable
        for name, text in texts().items()
        if name.startswith("deploy/") or name in ("README.md", "settings.example.toml")
        for variable in re.findall(r"\bWAYSTATION_([A-Z_]+)", text)
    }
    assert copied and copied - {"CONFIG"} <= {name.upper() for name in Settings.model_fields}


def test_files_to_be_copied_do_not_mention_how_they_were_tested() -> None:
    deployed = {name: text for name, text in texts().items() if name.startswith("deploy/")}
    found = [name for name, text in deployed.items() if re.search(r"was tried|Tried with", text)]
    assert found == []


def test_messages_contain_no_repr_of_an_exception() -> None:
    found = [
        f"{name}: {match[0]}"
        for name, text in texts().items()
        if name.endswith(".py")
        for match in REPR_OF_ERROR.finditer(text)
    ]
    assert found == []


def test_a_hint_names_an_extra_that_there_is() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    hints = re.findall(r"how_to_add\(['\"](\w+)", "".join(texts().values()))
    assert set(hints) >= {"warm", "sign", "export"}
    assert set(hints) <= set(project["optional-dependencies"])
    assert "pip install '.[sign]'" in how_to_add("sign")
