from __future__ import annotations

import pytest

from tests.bundle.support import LINUX, WINDOWS, choice

WHEEL = "a-1-cp312-cp312-win_amd64.whl"


@pytest.mark.parametrize(
    ("sdists", "all_files", "taken"),
    [
        ("also", False, {"any", "sdist"}),
        ("none", False, {"any"}),
        ("only", False, {"sdist"}),
        ("also", True, {"any", "sdist", "win", "egg"}),
        ("none", True, {"any", "win", "egg"}),
        ("only", True, {"sdist"}),
    ],
)
def test_files_are_taken_by_kind_and_target(sdists: str, all_files: bool, taken: set[str]) -> None:
    names = {"any": "a-1-py3-none-any.whl", "sdist": "a-1.tar.gz", "win": WHEEL, "egg": "a-1.egg"}
    chosen = choice(sdists=sdists, all_files=all_files)
    assert {key for key, name in names.items() if chosen.takes(name)} == taken


def test_some_of_the_targets_can_be_asked_for() -> None:
    chosen = choice(platforms=(LINUX, WINDOWS))
    linux, windows = chosen.targets
    assert chosen.takes(WHEEL)
    assert chosen.takes(WHEEL, [windows])
    assert not chosen.takes(WHEEL, [linux])
