"""What is missing, written as a list and read again: nothing has to be said beside it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from packaging.specifiers import SpecifierSet

from proxy.model import normalize
from proxy.requirements.model import (
    LatestVersions,
    LoggedRequest,
    Missing,
    PinnedVersion,
    ResolvedFiles,
    ResolverInput,
    SourceRequirements,
    UnreadableSource,
)
from proxy.requirements.sources.missing_list import missing_lines, read_missing_list
from tests.support.requirement_sources import LINUX, MAC, choice, document

FOR = choice(("3.11", "3.12"), (LINUX, MAC))
ELSEWHERE = choice(("3.13",))
DIGEST = "a" * 64


NOTHING_ASKED = SourceRequirements()


def again(
    needs: ResolvedFiles, missing: list[Missing], wants: SourceRequirements = NOTHING_ASKED
) -> SourceRequirements:
    text = "".join(f"{line}\n" for line in missing_lines(needs, missing, wants, FOR))
    return read_missing_list(document(text), ELSEWHERE, {})


def test_files_and_pages_have_no_targets() -> None:
    missing = [Missing(f"foo/foo-1.tar.gz#{DIGEST}", "gone"), Missing("bar/#-", "gone")]
    assert [*missing_lines(ResolvedFiles(), missing, SourceRequirements(), FOR)] == [
        each.line for each in missing
    ]
    touched = (
        LoggedRequest(normalize("foo"), "foo-1.tar.gz", DIGEST),
        LoggedRequest(normalize("bar")),
    )
    assert again(ResolvedFiles(), missing) == SourceRequirements(requests=touched)


def test_what_was_to_be_resolved_comes_back_as_it_was() -> None:
    text = 'foo>=1\nbar; python_version < "4"\n--no-binary foo\n'
    asked = ResolverInput("given", text, "baz<2\n", prereleases=True)
    other = ResolverInput("given", "foo\n")
    first, *_, last = FOR.targets
    needs = ResolvedFiles(unresolved=((asked, last), (asked, first), (other, first)))
    one, two = again(needs, [Missing("foo>=1", "no"), Missing("foo", "no")]).requirements
    assert one == replace(asked, file_filter=FOR)
    assert two == replace(other, file_filter=choice(("3.11",), (LINUX,)))


@pytest.mark.parametrize("kind", [{"sdists": "none"}, {"sdists": "only"}, {"all_files": True}])
def test_the_kinds_of_files_come_along(kind: dict[str, object]) -> None:
    wanted = choice(**kind)  # type: ignore[arg-type]
    text = "\n".join(
        missing_lines(ResolvedFiles(), [Missing("foo", "no")], SourceRequirements(), wanted)
    )
    (asked,) = read_missing_list(document(text), ELSEWHERE, {}).requirements
    assert asked.file_filter == wanted


def test_the_newest_versions_come_along() -> None:
    named = LatestVersions(normalize("foo"), SpecifierSet(">=2"), 3)
    found = again(
        ResolvedFiles(), [Missing("foo>=2", "no page")], SourceRequirements(latest=(named,))
    )
    assert found.latest == (LatestVersions(normalize("foo"), SpecifierSet(">=2"), 3, FOR),)


def test_locked_versions_have_their_targets() -> None:
    line = f"foo==1.0 --hash=sha256:{DIGEST}"
    found = again(ResolvedFiles(), [Missing(line, "no page")])
    digests = frozenset({f"sha256:{DIGEST}"})
    assert found.versions == (PinnedVersion(normalize("foo"), "1.0", digests, FOR.targets),)


def test_requirements_before_a_head_are_for_the_command() -> None:
    found = read_missing_list(document("foo\n--python 3.11 --platform linux\nbar\n"), ELSEWHERE, {})
    assert [(one.text, one.file_filter) for one in found.requirements] == [
        ("foo\n", None),
        ("bar\n", choice(("3.11",))),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--python 2.7\nfoo", "line 1: --python: 2.7"),
        ("\nfoo\n--python 3.11 --platform amiga\nfoo", "line 3: --platform: amiga"),
        ("--python 3.11 --jobs 3\n", "line 1: unrecognized arguments: --jobs 3"),
        ("--python 3.11 --platform 'linux\n", "line 1: No closing quotation"),
        ("--python 3.11 --latest x\nfoo", "line 1: argument --latest"),
        ("--python 3.11\n\nfoo bar", "line 3: not a requirement"),
    ],
)
def test_a_damaged_list_is_reported_with_its_line(text: str, message: str) -> None:
    with pytest.raises(UnreadableSource) as raised:
        read_missing_list(document(text), ELSEWHERE, {})
    assert f"given, {message}" in str(raised.value)
