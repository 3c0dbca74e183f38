from __future__ import annotations

from pathlib import Path

import pytest

from proxy.requirements.model import UnreadableSource
from proxy.requirements.sources import read_source
from proxy.requirements.sources.uv_lock import read_uv_lock
from tests.support.requirement_sources import LINUX, MAC, WINDOWS, choice, document, filenames

PLAIN = {
    "alpha-1.0-py3-none-any.whl",
    "alpha-1.0.tar.gz",
    "epsilon-1.0.tar.gz",
    "zeta-1.0-py3-none-any.whl",
    "eta-1.0-py3-none-any.whl",
}

BEGIN = 'version = 1\nrequires-python = ">=3.10"\n'
ROOT = """
[[package]]
name = "house"
version = "1.0"
source = { virtual = "." }
dependencies = [%s]
"""


def beta(python: str, platform: str) -> str:
    return f"beta-1.0-{python}-{python}-{platform}.whl"


def test_real_lock_gives_the_files_of_one_target(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice())
    own = {beta("cp312", LINUX), "delta-2.0-py3-none-any.whl"}
    assert filenames(wants) == PLAIN | own
    assert wants.skipped == ()


def test_real_lock_gives_the_files_of_all_targets(locked_project: Path) -> None:
    wants = read_source(
        str(locked_project / "uv.lock"), choice(("3.10", "3.12"), (LINUX, MAC, WINDOWS))
    )
    betas = {beta(p, on) for p in ("cp310", "cp312") for on in (LINUX, MAC, WINDOWS)}
    windows = {"gamma-1.0-py3-none-any.whl"}
    deltas = {"delta-1.0-py3-none-any.whl", "delta-2.0-py3-none-any.whl"}
    assert filenames(wants) == PLAIN | betas | windows | deltas


def test_version_of_a_fork_is_only_for_the_targets_of_the_fork(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice(("3.10", "3.12")))
    (old,) = (each for each in wants.files if each.filename.startswith("delta-1.0"))
    assert [target.python for target in old.targets] == ["3.10"]
    assert old.version == "1.0"


def test_each_file_has_the_digest_and_address_of_the_lock(locked_project: Path) -> None:
    text = (locked_project / "uv.lock").read_text()
    for file in read_source(str(locked_project / "uv.lock"), choice()).files:
        assert f'hash = "sha256:{file.hashes["sha256"]}"' in text
        assert file.url_hint is not None
        assert f'"{file.url_hint}"' in text


def test_what_builds_a_local_member_is_wanted_too(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice())
    assert [each.text for each in wants.requirements] == ["hatchling\n"]


@pytest.mark.parametrize(
    ("sdists", "alphas"),
    [
        ("none", {"alpha-1.0-py3-none-any.whl"}),
        ("only", {"alpha-1.0.tar.gz"}),
        ("also", {"alpha-1.0-py3-none-any.whl", "alpha-1.0.tar.gz"}),
    ],
)
def test_kinds_of_file_are_chosen(locked_project: Path, sdists: str, alphas: set[str]) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice(sdists=sdists))
    assert {name for name in filenames(wants) if name.startswith("alpha")} == alphas


def test_version_without_a_wanted_file_for_a_target_is_reported(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice(sdists="none"))
    assert [(each.what, each.reason) for each in wants.skipped] == [
        ("epsilon 1.0", f"the lock file has no suitable file for Python 3.12 on {LINUX}")
    ]


def test_all_files_are_those_of_every_platform_of_the_chosen_versions(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice(all_files=True))
    assert len([name for name in filenames(wants) if name.startswith("beta")]) == 9
    assert not [name for name in filenames(wants) if name.startswith(("gamma", "delta-1"))]


def test_a_python_that_the_lock_excludes_is_reported(locked_project: Path) -> None:
    wants = read_source(str(locked_project / "uv.lock"), choice(("3.9", "3.12")))
    assert [each.what for each in wants.skipped] == [f"Python 3.9 on {LINUX}"]
    assert all("3.9" not in [t.python for t in each.targets] for each in wants.files)


@pytest.mark.parametrize(
    ("source", "origin"),
    [
        ('{ git = "https://user:secret@example.com/x?rev=1#abc" }', "git"),
        ('{ url = "https://example.com/foo-1.0.tar.gz" }', "url"),
        ('{ path = "foo-1.0.tar.gz" }', "path"),
        ('{ registry = "../flat" }', "a local directory"),
    ],
)
def test_a_package_from_elsewhere_than_an_index_is_reported_without_its_address(
    source: str, origin: str
) -> None:
    entry = f'[[package]]\nname = "foo"\nversion = "1.0"\nsource = {source}\n'
    text = BEGIN + entry + ROOT % '{ name = "foo" }'
    (skipped,) = read_uv_lock(document(text), choice()).skipped
    assert str(skipped) == f"given: foo: comes from {origin}, not from an index"


def test_conflicting_extras_are_all_kept() -> None:
    versions = "".join(
        f'[[package]]\nname = "foo"\nversion = "{n}"\n'
        'source = { registry = "https://example.com" }\n'
        f'wheels = [{{ url = "https://example.com/foo-{n}-py3-none-any.whl" }}]\n'
        for n in (1, 2)
    )
    edges = ", ".join(
        f'{{ name = "foo", version = "{n}", marker = "extra == \'extra-5-house-{n}\'" }}'
        for n in (1, 2)
    )
    wants = read_uv_lock(document(BEGIN + versions + ROOT % edges), choice())
    assert [each.version for each in wants.files] == ["1", "2"]
    assert all(each.hashes == {} for each in wants.files)


def test_requirements_of_a_script_are_roots() -> None:
    text = BEGIN + (
        '[manifest]\nrequirements = [{ name = "foo", specifier = ">=1" }]\n'
        '[[package]]\nname = "foo"\nversion = "1"\n'
        'source = { registry = "https://example.com/simple" }\n'
        'wheels = [{ url = "https://example.com/foo-1-py3-none-any.whl" }]\n'
        '[[package]]\nname = "unreached"\nversion = "1"\n'
        'source = { registry = "https://example.com/simple" }\n'
    )
    assert filenames(read_uv_lock(document(text), choice())) == {"foo-1-py3-none-any.whl"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("version = 2\n", "version 2 of the format is not known"),
        ("version = 1\npackage = 3\n", "$.package"),
        ("version = 1\n[[package]\n", "not TOML"),
        (BEGIN + ROOT % '{ name = "a", marker = "sys_platform ==" }', "not an environment marker"),
    ],
)
def test_broken_lock_is_refused(text: str, problem: str) -> None:
    with pytest.raises(UnreadableSource, match="given") as caught:
        read_uv_lock(document(text), choice())
    assert problem in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/..%2F..%2Fetc%2Fpasswd",
        "https://example.com/bar-1.0.tar.gz",
        "https://example.com/foo-1.0%0a.tar.gz",
    ],
)
def test_file_that_is_not_of_the_project_is_refused(url: str) -> None:
    entry = (
        '[[package]]\nname = "foo"\nversion = "1.0"\n'
        'source = { registry = "https://example.com" }\n'
        f'sdist = {{ url = "{url}" }}\n'
    )
    with pytest.raises(UnreadableSource, match="is not a filename of the project"):
        read_uv_lock(document(BEGIN + entry + ROOT % '{ name = "foo" }'), choice())
