"""The kinds files and status: which files of a page pass."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.model import File, ProjectStatus
from tests.support.judging import judge, shown

ANY, SDIST, EGG = "demo-1.0-py3-none-any.whl", "demo-1.0.tar.gz", "demo-1.0-py3.12.egg"
LINUX = "demo-1.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl"
MUSL = "demo-1.0-cp312-cp312-musllinux_1_2_aarch64.whl"
MAC = "demo-1.0-cp312-cp312-macosx_11_0_arm64.whl"
WINDOWS = "demo-1.0-cp312-cp312-win_amd64.whl"
PHONE = "demo-1.0-cp313-cp313-android_21_arm64_v8a.whl"
STABLE = "demo-1.0-cp39-abi3-manylinux_2_17_x86_64.whl"
OLD = "demo-1.0-1-py2.py3-none-any.whl"
PYPY = "demo-1.0-pp310-pypy310_pp73-win_amd64.whl"
NEWER = "demo-1.0-cp313-abi3-win_amd64.whl"
FILES = [ANY, SDIST, EGG, LINUX, MUSL, MAC, WINDOWS, PHONE, STABLE, OLD, PYPY, NEWER]


def without(*names: str) -> list[str]:
    return [each for each in FILES if each not in names]


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({}, FILES),
        ({"sdists": False}, without(SDIST)),
        ({"legacy": False}, without(EGG)),
        ({"platforms": ["linux"]}, without(MAC, WINDOWS, PHONE, PYPY, NEWER)),
        ({"platforms": ["macos"]}, [ANY, SDIST, EGG, MAC, OLD]),
        ({"platforms": ["windows"]}, [ANY, SDIST, EGG, WINDOWS, OLD, PYPY, NEWER]),
        ({"platforms": ["manylinux2014_*"]}, [ANY, SDIST, EGG, LINUX, OLD]),
        ({"platforms": ["android_*"]}, [ANY, SDIST, EGG, PHONE, OLD]),
        ({"pythons": ["3.12"]}, without(PHONE, PYPY, NEWER)),
        ({"pythons": ["3.9"]}, [ANY, SDIST, EGG, STABLE, OLD]),
        ({"pythons": ["3.10"]}, [ANY, SDIST, EGG, STABLE, OLD, PYPY]),
        ({"pythons": ["2.7"]}, [SDIST, EGG, OLD]),
        ({"pythons": ["pp3*"]}, [SDIST, EGG, PYPY]),
        ({"pythons": ["3.12"], "platforms": ["macos"]}, [ANY, SDIST, EGG, MAC, OLD]),
    ],
)
def test_kinds_platforms_and_pythons(keys: dict[str, Any], expected: list[str]) -> None:
    assert shown(FILES, {"kind": "files", **keys}) == expected


def test_a_file_of_unknown_size_passes() -> None:
    files = [File(ANY, "", size=10), File(SDIST, "", size=11), File(EGG, "")]
    assert shown(files, {"kind": "files", "max_size": 10}) == [ANY, EGG]


def sdist(version: str) -> str:
    return f"demo-{version}.tar.gz"


@pytest.mark.parametrize(
    ("versions", "keys", "expected"),
    [
        (["1", "2", "10"], {"latest": 2}, ["2", "10"]),
        (["1", "2.0", "2.0rc1", "3a1", "3.dev0"], {"latest": 1}, ["2.0", "3a1"]),
        (["1", "2.0rc1"], {"prereleases": False}, ["1"]),
        (["1", "2.dev1"], {"prereleases": False, "latest": 1}, ["1"]),
        (["1", "1+local", "1.post1"], {"latest": 2}, ["1+local", "1.post1"]),
        (["1", "banana"], {"latest": 5}, ["1"]),
    ],
)
def test_the_newest_versions(
    versions: list[str], keys: dict[str, Any], expected: list[str]
) -> None:
    files = list(map(sdist, versions))
    assert shown(files, {"kind": "files", **keys}) == list(map(sdist, expected))


@pytest.mark.parametrize("order", [1, -1])
def test_the_newest_versions_are_those_that_the_other_policies_let_pass(order: int) -> None:
    files = [*map(sdist, ("1", "2", "3")), "demo-3-py3-none-any.whl"]
    latest: dict[str, Any] = {"kind": "files", "latest": 2}
    tables: list[dict[str, Any]] = [latest, {"kind": "deny", "versions": {"demo": "==3"}}][::order]
    assert shown(files, *tables) == [sdist("1"), sdist("2")]
    tables = [latest, {"kind": "files", "sdists": False, "projects": ["other"]}][::order]
    assert shown(files, *tables) == [*map(sdist, ("2", "3")), "demo-3-py3-none-any.whl"]
    observed = {"kind": "deny", "versions": {"demo": "==3"}, "mode": "observe"}
    assert shown(files, *[latest, observed][::order])[0] == sdist("2")


def test_the_versions_of_a_page_are_those_with_a_shown_file() -> None:
    """PEP 700; a version without any file is not refused, and stays."""
    files = [*map(sdist, ("1.0", "2.0", "3.0")), "demo-2-py3-none-any.whl"]
    listed = ("1.0.0", "2.0", "3.0", "4.0")
    judged = judge(files, {"kind": "files", "sdists": False}, versions=listed)
    assert judged.page.versions == ("2.0", "4.0")
    odd = ["demo-banana.txt", "demo-cherry.tar.gz"]
    legacy = {"kind": "files", "legacy": False, "sdists": False}
    assert judge(odd, legacy, versions=("apple", "cherry")).page.versions == ("apple", "cherry")
    deny = {"kind": "deny", "projects": ["demo"]}
    assert judge(files, deny, versions=listed).page.versions == listed


@pytest.mark.parametrize(
    ("status", "passes"),
    [(None, True), ("active", True), ("archived", False), ("deprecated", True)],
)
def test_a_status(status: str | None, passes: bool) -> None:
    said = ProjectStatus(status, "moved to other") if status else None
    judged = judge([SDIST], {"kind": "status", "refuse": ["archived"]}, status=said)
    assert bool(judged.page.files) is passes
    assert judged.page.status == said
    reasons = [verdict.reason for each in judged.refusals.values() for verdict in each]
    assert reasons == [] if passes else ["demo is archived (moved to other)"]
