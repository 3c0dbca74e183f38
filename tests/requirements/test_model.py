from __future__ import annotations

import pytest

from proxy.model import normalize
from proxy.requirements.model import (
    PinnedFile,
    PinnedVersion,
    SourceRequirements,
    UnreadableSource,
    merge_requirements,
)
from tests.support.requirement_sources import LINUX, WINDOWS, choice

FOO = normalize("foo")


def pinned(digest: str) -> PinnedFile:
    return PinnedFile(FOO, "1", "foo-1.tar.gz", {"sha256": digest}, None, ())


def test_joined_requirements_list_each_once_in_order() -> None:
    one, other = (
        SourceRequirements(files=(pinned("a"), pinned("b"))),
        SourceRequirements(files=(pinned("b"), pinned("c"))),
    )
    assert merge_requirements([one, other]).files == (pinned("a"), pinned("b"), pinned("c"))
    assert merge_requirements([]) == SourceRequirements()


def test_pinned_version_allows_a_file_with_any_of_its_digests() -> None:
    version = PinnedVersion(FOO, "1", frozenset({"sha256:aa", "sha512:bb"}), ())
    assert version.allows({"md5": "00", "sha512": "bb"})
    assert not version.allows({"sha256": "bb"})
    assert not version.allows({})


@pytest.mark.parametrize(("line", "message"), [(3, "x.txt, line 3: no"), (None, "x.txt: no")])
def test_unreadable_source_says_where(line: int | None, message: str) -> None:
    assert str(UnreadableSource("x.txt", "no", line)) == message


def test_unreadable_source_keeps_passwords_to_itself() -> None:
    error = UnreadableSource("x.txt", "what is https://me:secret@example.com/x")
    assert "secret" not in str(error) + repr(error)


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
    assert {key for key, name in names.items() if chosen.accepts(name)} == taken


def test_some_of_the_targets_can_be_asked_for() -> None:
    chosen = choice(platforms=(LINUX, WINDOWS))
    linux, windows = chosen.targets
    assert chosen.accepts(WHEEL)
    assert chosen.accepts(WHEEL, [windows])
    assert not chosen.accepts(WHEEL, [linux])
