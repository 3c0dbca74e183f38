from __future__ import annotations

import pytest

from proxy.model import normalize
from proxy.requirements.model import (
    Pinned,
    PinnedVersion,
    SourceRequirements,
    UnreadableSource,
    joined,
)

FOO = normalize("foo")


def pinned(digest: str) -> Pinned:
    return Pinned(FOO, "1", "foo-1.tar.gz", {"sha256": digest}, None, ())


def test_joined_wants_hold_each_thing_once_in_order() -> None:
    one, other = (
        SourceRequirements(files=(pinned("a"), pinned("b"))),
        SourceRequirements(files=(pinned("b"), pinned("c"))),
    )
    assert joined([one, other]).files == (pinned("a"), pinned("b"), pinned("c"))
    assert joined([]) == SourceRequirements()


def test_pinned_version_allows_a_file_with_any_of_its_digests() -> None:
    version = PinnedVersion(FOO, "1", frozenset({"sha256:aa", "sha512:bb"}), ())
    assert version.allows({"md5": "00", "sha512": "bb"})
    assert not version.allows({"sha256": "bb"})
    assert not version.allows({})


@pytest.mark.parametrize(("line", "told"), [(3, "x.txt, line 3: no"), (None, "x.txt: no")])
def test_unreadable_source_says_where(line: int | None, told: str) -> None:
    assert str(UnreadableSource("x.txt", "no", line)) == told


def test_unreadable_source_keeps_passwords_to_itself() -> None:
    error = UnreadableSource("x.txt", "what is https://me:secret@example.com/x")
    assert "secret" not in str(error) + repr(error)
