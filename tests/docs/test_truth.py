"""The names in the documents exist: links, files, settings, commands, flags, packages, classes."""

from __future__ import annotations

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import click
import pytest
from pydantic import BaseModel

from proxy.cli import COMMANDS, group
from proxy.config import (
    FallthroughTable,
    KeepTable,
    LocalTable,
    MirrorTable,
    PolicyTable,
    ReleasesTable,
    RoutedTable,
    Settings,
)
from proxy.config.access_table import (
    AccessTable,
    CertificatesTable,
    FrontProxyTable,
    LdapTable,
    OidcTable,
)
from proxy.config.fact_tables import POLICY_TABLES, AdvisoriesTable
from proxy.config.storage_table import StorageTable
from proxy.events import Outcome
from proxy.policies.expressions import FACTS
from tests.docs.documents import PATHS, ROOT, name, prose, steps
from tests.test_architecture import PACKAGES

DOCS = [path for path in PATHS if path.parent.name == "docs"]
ARCHITECTURE = ROOT / "docs" / "architecture.md"
CODE = re.compile(r"`([^`\n]+)`")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FOLDERS = ("proxy/", "tests/", "docs/", "deploy/", "benchmarks/", ".ci/")
OTHER_TOOLS = {
    "--index-url",
    "--extra-index-url",
    "--client-cert",
    "--trusted-host",
    "--refresh",
    "--disable-fallback",
    "--frozen",
    "--build-arg",
}
TABLES: tuple[type[BaseModel], ...] = (
    *(Settings, KeepTable, LocalTable, MirrorTable, ReleasesTable, FallthroughTable),
    *(RoutedTable, PolicyTable, StorageTable),
    *(AdvisoriesTable, AccessTable, OidcTable, LdapTable, FrontProxyTable, CertificatesTable),
    *POLICY_TABLES.values(),
)
EXPRESSION_FACTS = {fact for facts in FACTS.values() for fact in facts}
SETTINGS = {key for table in TABLES for key in table.model_fields}


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_links_within_the_repository_lead_somewhere(path: Path) -> None:
    for target in LINK.findall(prose(path)):
        if "://" not in target:
            file, _, heading = target.partition("#")
            linked = path.parent / file if file else path
            assert linked.exists(), target
            assert not heading or heading in set(_anchors(linked)), target


def _anchors(path: Path) -> Iterator[str]:
    """The addresses of headings, as web pages of repositories make them."""
    for heading in re.findall(r"^#+ (.+)$", prose(path), re.MULTILINE):
        yield re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_files_that_are_named_exist(path: Path) -> None:
    named = {each for each in CODE.findall(prose(path)) if each.startswith(FOLDERS)}
    assert {each for each in named if not (ROOT / each.split("::")[0]).exists()} == set()


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_settings_that_are_named_exist(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assigned = re.findall(r"`([a-z_]+) = [^`]+`", text)
    variables = [each.lower() for each in re.findall(r"\bWAYSTATION_([A-Z_]+)", text)]
    assert set(assigned) | set(variables) <= SETTINGS | {"config", "token"}


USER_DOCS = [path for path in DOCS if path.stem not in ("architecture", "comparison", "benchmarks")]


@pytest.mark.parametrize("path", USER_DOCS, ids=name)
def test_names_that_look_like_settings_are_settings(path: Path) -> None:
    named = {each for each in CODE.findall(prose(path)) if re.fullmatch("[a-z]+(_[a-z]+)+", each)}
    metrics = {each for each in named if each.startswith("waystation_")}
    assert named - metrics - SETTINGS - EXPRESSION_FACTS == set()


def test_the_table_of_settings_names_all_of_them() -> None:
    text = (ROOT / "docs" / "settings.md").read_text(encoding="utf-8")
    rows = text.split("| topic | settings |")[1].split("\n\n")[0]
    assert set(CODE.findall(rows)) == set(Settings.model_fields)


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_settings_in_examples_are_known(path: Path) -> None:
    for step in steps(path):
        if step.language == "toml" and step.argument != "pyproject.toml":
            assert set(tomllib.loads(step.text)) <= set(Settings.model_fields), step.line


def _command(words: list[str]) -> click.Command:
    """The command that the words begin with; raises ``UsageError`` if there is none."""
    found: click.Command = group
    context = click.Context(group)
    while isinstance(found, click.Group) and words:
        following = found.get_command(context, words.pop(0))
        assert following is not None
        found = following
    return found


def _commands(path: Path) -> Iterator[list[str]]:
    """The arguments of each call of ``waystation``, up to the end of that call."""
    text = path.read_text(encoding="utf-8")
    calls = re.findall(r"(?:^|[`|&/ ])waystation ((?:(?!\bwaystation )[^`\n#|&;])+)", text, re.M)
    yield from (call.split() for call in calls if call.split()[0] in COMMANDS)
    groups = re.findall(r"`((?:bundle|cache) [a-z][^`]*)`", text)
    yield from (call.split() for call in groups)


@pytest.mark.parametrize("path", [path for path in PATHS if path.name != "CHANGELOG.md"], ids=name)
def test_commands_and_flags_that_are_named_exist(path: Path) -> None:
    for words in _commands(path):
        call = " ".join(words)
        command = _command(words)
        known = {
            flag for option in command.params for flag in (*option.opts, *option.secondary_opts)
        }
        flags = {word.split("=")[0] for word in words if re.match(r"--[a-z]", word)}
        assert flags <= known | {"--help"}, call


@pytest.mark.parametrize("path", DOCS, ids=name)
def test_flags_that_stand_alone_exist(path: Path) -> None:
    spans = " ".join(CODE.findall(prose(path)))
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]*", spans))
    assert named - set(_all_flags(group)) - OTHER_TOOLS == set()


def _all_flags(command: click.Command) -> Iterator[str]:
    for option in command.params:
        yield from (*option.opts, *option.secondary_opts)
    if isinstance(command, click.Group):
        context = click.Context(command)
        for each in command.list_commands(context):
            if (sub := command.get_command(context, each)) is not None:
                yield from _all_flags(sub)
    yield "--help"


def test_the_outcomes_of_the_access_log_are_explained() -> None:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    rows = text.split("| outcome | the answer |")[1].split("\n\n")[0]
    assert set(CODE.findall(rows)) == set(Outcome)


@pytest.mark.parametrize("path", PATHS, ids=name)
def test_examples_in_json_are_json(path: Path) -> None:
    for step in steps(path):
        if step.language == "json":
            texts = step.text.splitlines() if step.argument.endswith(".jsonl") else [step.text]
            assert all(isinstance(json.loads(each), dict) for each in texts)


def test_the_architecture_shows_the_packages_in_their_order() -> None:
    rows = re.findall(r"^\| `([a-z]+)` \|", ARCHITECTURE.read_text(encoding="utf-8"), re.M)
    assert rows == [each for each in PACKAGES if each != "__main__"]


def test_the_picture_shows_all_packages() -> None:
    picture = ARCHITECTURE.read_text(encoding="utf-8").split("```")[1]
    shown = set(re.findall(r"proxy/([a-z]+)", picture))
    assert shown == set(PACKAGES) - {"__main__"}


@pytest.mark.parametrize("path", [ARCHITECTURE, ROOT / "CONTRIBUTING.md"], ids=name)
def test_classes_that_are_named_exist(path: Path) -> None:
    named = set(re.findall(r"`([A-Z][a-z]+(?:[A-Z][a-z]+)*)`", prose(path)))
    assert named - _classes() == set()


@cache
def _classes() -> set[str]:
    """With the names of types that are values."""
    return {
        node.name if isinstance(node, ast.ClassDef) else ast.unparse(node.targets[0])
        for file in (ROOT / "proxy").rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ClassDef | ast.Assign)
    }
