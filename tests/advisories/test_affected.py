"""Which versions events and lists of an advisory mean (OSV schema 1.x, PEP 440)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.advisories.affected import (
    Affected,
    Interval,
    OrderedVersions,
    intervals_of,
    normalized,
    parse_version,
)


def about(versions: str = "", *ranges: str) -> Affected:
    """Ranges as ``introduced 0, fixed 1.2``."""
    intervals = [each for text in ranges for each in intervals_of(events(text))]
    return Affected(normalized(versions.split()), tuple(intervals))


def events(text: str) -> list[dict[str, str]]:
    pairs = (each.split() for each in text.split(",") if each)
    return [{kind: version} for kind, version in pairs]


@pytest.mark.parametrize(
    ("advisory", "affected", "unaffected"),
    [
        (about("1.0"), "1.0 1.0.0 1 1.0+cu121", "1.0.1 1.0rc1 1!1.0"),
        (about("1.0.0 2.0.0-rc.1"), "1.0 2.0rc1", "2.0"),
        (about("2004d"), "2004d", "2004.1 2004e"),
        (about("", "introduced 0, fixed 1.2"), "0 0.1 1.1 1.2rc1 1.2.dev1", "1.2 1.2.post1 1.3"),
        (about("", "introduced 0"), "0 0.1 99 1!0 0a1 0.dev0", ""),
        (about("", "fixed 1.2, introduced 1.0"), "1.0 1.1", "0.9 1.0rc1 1.2"),
        (
            about("", "fixed 3.1, introduced 0, introduced 3.0, fixed 2.5"),
            "1 2.4 3.0 3.0.9",
            "2.5 2.9 3.1",
        ),
        (about("", "introduced 1.0, last_affected 1.5"), "1.0 1.5 1.5+x", "0.9 1.5.1 1.6"),
        (about("", "introduced 1.0, last_affected 1.0"), "1.0", "0.9 1.0.post1"),
        (about("", "introduced 1.0, limit 2.0"), "1.0 1.9", "0.9 2.0 2.1"),
        (about("", "introduced 1.0, limit 2.0, limit 3.0"), "1.0 2.5", "3.0"),
        (about("", "introduced 1.0, limit *"), "1.0 99", "0.9"),
        (about("", "introduced 1.0, fixed 4.0, limit 2.0"), "1.0 1.9", "2.0 3.0"),
        (about("", "introduced 5.0, limit 2.0"), "", "1.0 5.0"),
        (about("", "introduced 1.0, fixed 1.0"), "", "0.9 1.0 1.1"),
        (about("", "introduced 0, fixed 1.0, introduced 1.0, fixed 2.0"), "0.9", "1.0 1.5 2.0"),
        (about("", "introduced 1!0, fixed 1!2"), "1!0 1!1.9", "99 1!2 2!0"),
        (about("", "introduced 0, fixed 1.2"), "1.1+cu121", "1.2+cu121"),
        (about("", "fixed 1.2"), "", "1.1 1.2"),
        (about("0.5", "introduced 1.0, fixed 1.2"), "0.5 1.1", "0.6 1.2"),
        (about("", "introduced 0, fixed 1", "introduced 2, fixed 3"), "0.5 2.5", "1 1.5 3"),
        (about(), "", "0 1.0"),
    ],
)
def test_affected_versions(advisory: Affected, affected: str, unaffected: str) -> None:
    def is_affected(text: str) -> bool:
        version = parse_version(text)
        return advisory.has(str(version) if version else text, version)

    assert [each for each in affected.split() if not is_affected(each)] == []
    assert [each for each in unaffected.split() if is_affected(each)] == []


VERSIONS = st.one_of(
    st.builds(
        "{}{}{}{}".format,
        st.sampled_from(["", "1!"]),
        st.lists(st.integers(0, 3), min_size=1, max_size=3).map(
            lambda parts: ".".join(map(str, parts))
        ),
        st.sampled_from(["", "a1", "rc1", ".post1", ".dev0"]),
        st.sampled_from(["", "+x", "+cu.1"]),
    ),
    st.sampled_from(["", "2004d", "nonsense"]),
)
EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["introduced", "fixed", "last_affected", "limit"]),
        st.sampled_from(["0", "1", "1.1", "2", "2.0rc1", "1!0", "3.1"]),
    ).map(lambda pair: {pair[0]: pair[1]}),
    max_size=5,
)


@given(st.lists(VERSIONS, max_size=20), st.lists(VERSIONS, max_size=4), EVENTS)
def test_many_versions_at_once_are_judged_as_each_alone(
    texts: list[str], listed: list[str], given_events: list[dict[str, str]]
) -> None:
    advisory = Affected(normalized(listed), tuple(intervals_of(given_events)))
    parsed = [parse_version(each) for each in texts]
    versions = [(str(v) if v else text, v) for text, v in zip(texts, parsed, strict=True)]
    alone = {number for number, each in enumerate(versions) if advisory.has(*each)}
    assert OrderedVersions(versions).affected_by(advisory) == alone


def test_what_cannot_be_compared_counts_as_affected() -> None:
    limited = about("", "introduced 1.0, fixed 1.2")
    assert limited.has("2004d", None)
    assert limited.has("", None)
    assert about("1.0").has("", None)
    assert not about("1.0").has("2004d", None)


@pytest.mark.parametrize("text", ["introduced 2004d", "introduced 0, fixed 1.0-beta-x", "seen 1"])
def test_a_range_that_cannot_be_read_is_refused_as_a_whole(text: str) -> None:
    with pytest.raises(ValueError):
        intervals_of(events(text))


def test_an_event_with_two_kinds_is_refused() -> None:
    with pytest.raises(ValueError):
        intervals_of([{"introduced": "0", "fixed": "1.0"}])


def test_only_a_fixed_event_says_that_a_version_is_a_fix() -> None:
    assert about("", "introduced 1, fixed 2").intervals == (Interval("1", "2", False, True),)
    assert about("", "introduced 1, last_affected 2").intervals == (Interval("1", "2", True),)
    assert about("", "introduced 1, fixed 3, limit 2").intervals == (Interval("1", "2"),)


def test_every_version_is_affected_without_bounds() -> None:
    assert about("", "introduced 0").has_all
    assert not about("", "introduced 0, fixed 9").has_all
    assert not about("1.0").has_all
