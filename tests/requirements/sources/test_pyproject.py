from __future__ import annotations

from pathlib import Path

import pytest

from proxy.requirements.model import SourceRequirements, UnreadableSource
from proxy.requirements.sources import read_source
from proxy.requirements.sources.pyproject import GroupSelection, read_pyproject
from tests.support.locked_project import UV
from tests.support.requirement_sources import WINDOWS, choice, document, fill_index, run
from tests.support.upstream_process import run_upstream_process

TEXT = """
[project]
name = "My.House"
version = "1"
dependencies = ["requests[socks]>=2", "tomli; python_version < '3.11'"]

[project.optional-dependencies]
a = ["alpha"]
b = ["beta<2", "my-house[a]"]

[dependency-groups]
Dev_Tools = ["gamma", {include-group = "lint"}]
lint = ["delta"]

[build-system]
requires = ["hatchling>=1"]
"""

BUILD = "hatchling>=1\n"
BASE = 'requests[socks]>=2\ntomli; python_version < "3.11"\n'


def texts(wants: SourceRequirements) -> list[str]:
    return [each.text for each in wants.requirements]


@pytest.mark.parametrize(
    ("extras", "groups", "together"),
    [
        ("all", "all", "alpha\nbeta<2\ngamma\ndelta\n"),
        (["B"], [], "beta<2\nalpha\n"),
        (["a"], [], "alpha\n"),
        ([], ["dev-tools"], "gamma\ndelta\n"),
        ([], ["lint"], "delta\n"),
    ],
)
def test_extras_and_groups_are_resolved_together_with_the_dependencies(
    extras: GroupSelection, groups: GroupSelection, together: str
) -> None:
    build, alone, more = texts(read_pyproject(document(TEXT), extras, groups))
    assert (build, alone) == (BUILD, BASE)
    assert more.startswith(BASE)
    assert sorted(more.removeprefix(BASE).split()) == sorted(together.split())


def test_without_extras_and_groups_the_dependencies_are_resolved_once() -> None:
    assert texts(read_pyproject(document(TEXT), (), ())) == [BUILD, BASE]


def test_project_that_names_no_build_back_end_is_built_by_setuptools() -> None:
    wants = read_pyproject(document('[project]\nname = "x"\nversion = "1"\n'))
    assert texts(wants) == ["setuptools>=40.8.0\n"]


def test_groups_alone_need_no_build() -> None:
    assert texts(read_pyproject(document('[dependency-groups]\na = ["alpha"]\n'))) == ["alpha\n"]


def test_groups_that_include_each_other_end() -> None:
    text = '[dependency-groups]\na = ["x", {include-group = "b"}]\nb = [{include-group = "a"}]\n'
    assert texts(read_pyproject(document(text), (), ["b"])) == ["x\n"]


def test_dynamic_dependencies_are_left_to_the_resolver(tmp_path: Path) -> None:
    text = '[project]\nname = "x"\ndynamic = ["version", "dependencies"]\n'
    text += '[project.optional-dependencies]\nmore = ["beta"]\n'
    folder = tmp_path / "with space"
    folder.mkdir()
    _, alone, together = texts(read_pyproject(document(text, folder)))
    assert alone == f"{folder.as_uri()}\n"
    assert together == f"{folder.as_uri()}[more]\n"


def test_a_package_from_elsewhere_is_reported_and_not_requested_from_an_index() -> None:
    text = TEXT.replace('"requests', '"there @ https://me:secret@example.com/x.zip", "requests')
    text += '[tool.uv.sources]\nalpha = { path = "../alpha" }\nbeta = [{ index = "x" }]\n'
    text += 'gamma = [{ git = "https://example.com", marker = "x" }]\n'
    wants = read_pyproject(document(text))
    assert sorted(map(str, wants.skipped)) == [
        "given: alpha: [tool.uv.sources] names a source that is not an index",
        "given: gamma: [tool.uv.sources] names a source that is not an index",
        "given: there: comes from an address, not from an index",
    ]
    asked = "".join(texts(wants))
    assert "beta<2" in asked
    assert not [name for name in ("alpha", "gamma", "there", "secret") if name in asked]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has no [project]"),
        ("[tool.poetry]\nname = 'x'\n", "has no [project]"),
        ("[project]\n", "name"),
        ("[project]\nname = '-'\n", "not a project name"),
        ("[project]\nname = 'x'\ndependencies = ['=x']\n", "not a requirement"),
        ("[project]\nname = 'x'\ndependencies = 'x'\n", "$.project.dependencies"),
        ("[dependency-groups]\na = ['=']\n", "[dependency-groups]"),
        ("[dependency-groups]\na = [{include-group = 'b'}]\n", "has no group b"),
        ("[dependency-groups]\na = []\nA = []\n", "[dependency-groups]"),
        ("[build-system]\nrequires = [1]\n", "$.build_system"),
        ("a = 1\na = 2\n", "line 2"),
    ],
)
def test_broken_project_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSource, match="given") as caught:
        read_pyproject(document(text))
    assert problem.replace("_", "-") in str(caught.value).replace("_", "-")


@pytest.mark.parametrize(
    ("extras", "groups", "message"), [(["c"], [], "no extra c"), ([], ["c"], "no group c")]
)
def test_unknown_extra_or_group_is_refused(
    extras: GroupSelection, groups: GroupSelection, message: str
) -> None:
    with pytest.raises(UnreadableSource, match=message):
        read_pyproject(document(TEXT), extras, groups)


def test_real_uv_resolves_what_is_asked_for_the_target(
    locked_project: Path, tmp_path: Path
) -> None:
    fill_index(tmp_path / "index")
    chosen = choice(("3.10",), (WINDOWS,))
    _, _, together = read_source(str(locked_project / "pyproject.toml"), chosen).requirements
    (tmp_path / "asked.in").write_text(together.text)
    command = [*UV, "pip", "compile", "asked.in", "-q", "--no-header", "--no-annotate"]
    with run_upstream_process(tmp_path / "index") as upstream:
        found = run([*command, *chosen.targets[0].uv_arguments()], tmp_path, upstream.url)
    assert found.split() == [
        f"{name}==1.0" for name in ("alpha", "beta", "delta", "epsilon", "eta", "gamma", "zeta")
    ]
