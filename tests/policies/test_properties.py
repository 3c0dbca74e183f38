"""Over random pages, policies and times: pages, verdicts and explanations say the same."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import Denied
from proxy.explain import Question, explain
from proxy.indexes import Guarded, Index, Merged
from proxy.model import File, ProjectPage, ProjectStatus, normalize, with_distributions
from proxy.policies import parse_names
from tests.support.clock import Clock
from tests.support.fake_index import FakeIndex
from tests.support.judging import NOW, judge_listed, policies_of
from tests.support.policies import GuardedFake, upload_time

DEMO = normalize("demo")
DAY = 86400.0
LONG_VERSION = "1" * 5000
"""Python refuses to convert that many digits."""
VERSIONS = ("1.0", "1.1rc1", "1.1", "1.1+local", "2.0", "2!1", "banana", LONG_VERSION)
ENDINGS = (
    *(".tar.gz", ".zip", ".egg", ".txt", "-py3-none-any.whl"),
    *("-cp312-cp312-win_amd64.whl", "-cp39-abi3-manylinux2014_x86_64.whl"),
    *("-py3-none-any.whl.metadata", ".tar.gz.provenance"),
)
YANKS: st.SearchStrategy[bool | str] = st.sampled_from([False, True, "broken"])
END_OF_TIME = NOW - datetime(9998, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp()
AGES = st.one_of(
    st.none(),
    st.sampled_from([END_OF_TIME, -DAY, 0.0, 1.0, DAY, 3 * DAY, 9 * DAY, 30 * DAY]),
)
TABLES: list[dict[str, Any]] = [
    {"kind": "cooldown", "age": "3d"},
    {"kind": "cooldown", "age": "3d", "batch": "1s", "unknown": "allow"},
    {"kind": "cooldown", "age": "10d", "unknown": "first-seen", "locked": "allow"},
    {"kind": "deny", "versions": {"demo": ["==1.0", ">=2"]}},
    {"kind": "deny", "projects": ["d*"]},
    {"kind": "deny", "filenames": ["*win_amd64*"]},
    {"kind": "deny", "digests": ["a" * 64]},
    {"kind": "allow", "versions": {"demo": "<2"}, "filenames": ["*.zip"]},
    {"kind": "allow", "projects": ["other"], "digests": ["b" * 64]},
    {"kind": "files", "sdists": False},
    {"kind": "files", "legacy": False, "max_size": 100},
    {"kind": "files", "prereleases": False},
    {"kind": "files", "latest": 1},
    {"kind": "files", "latest": 2, "platforms": ["linux"]},
    {"kind": "files", "pythons": ["3.11"]},
    {"kind": "status", "refuse": ["archived"]},
    {"kind": "expression", "refuse": 'has(file.age) && file.age < duration("72h")'},
    {"kind": "expression", "refuse": 'has(release.age) && release.age < duration("9h")'},
]


@st.composite
def files(draw: st.DrawFn) -> File:
    name = f"demo-{draw(st.sampled_from(VERSIONS))}{draw(st.sampled_from(ENDINGS))}"
    age = draw(AGES)
    return File(
        name,
        "",
        {"sha256": draw(st.sampled_from("abc")) * 64},
        draw(st.sampled_from([None, 1, 1000])),
        uploaded=None if age is None else upload_time(NOW - age),
        yanked=draw(YANKS),
    )


@st.composite
def pages(draw: st.DrawFn) -> ProjectPage:
    listed = draw(st.lists(files(), max_size=12, unique_by=lambda file: file.filename))
    seen = {file.filename: NOW - draw(st.sampled_from([0.0, 9 * DAY, 11 * DAY])) for file in listed}
    status = draw(st.sampled_from([None, "active", "archived"]))
    return ProjectPage(
        DEMO,
        tuple(listed),
        draw(st.sampled_from([(), VERSIONS])),
        ProjectStatus(status) if status else None,
        version="1",
        source="main",
        first_seen=draw(st.sampled_from([{}, seen])),
    )


@st.composite
def tables(draw: st.DrawFn) -> dict[str, Any]:
    more: dict[str, Any] = {}
    for key, values in (("mode", ["enforce", "observe"]), ("show", ["hide", "yank"])):
        if value := draw(st.sampled_from([None, *values])):
            more[key] = value
    return {**draw(st.sampled_from(TABLES)), **more}


@st.composite
def exemptions(draw: st.DrawFn) -> dict[str, Any]:
    row: dict[str, Any] = {"policy": ["p0"], "reason": "approved"}
    row |= draw(st.sampled_from([{"project": "demo"}, {"digest": "a" * 64}, {"project": "x"}]))
    row |= draw(st.sampled_from([{}, {"version": "<2"}]))
    end = draw(st.sampled_from([None, NOW - 1, NOW + DAY]))
    return row | ({"until": datetime.fromtimestamp(end, UTC)} if end else {"forever": True})


RULES = st.lists(tables(), min_size=1, max_size=4)
ROWS = st.lists(exemptions(), max_size=2)


def looks(page: ProjectPage) -> dict[str, bool]:
    """Whether each listed file is yanked."""
    return {file.filename: bool(file.yanked) for file in page.files}


@given(pages(), RULES, ROWS)
def test_the_page_shows_what_the_verdicts_say(
    page: ProjectPage, given_tables: list[dict[str, Any]], rows: list[dict[str, Any]]
) -> None:
    policies = policies_of(*given_tables, exempt=rows)
    hiding = {policy.name for policy in policies if policy.show == "hide"}
    judged = judge_listed(page, policies, parse_names(page))
    shown = looks(judged.page)
    for file in page.files:
        names = with_distributions(file.filename)
        verdicts = [each for name in names for each in judged.refusals.get(name, ())]
        hidden = any(each.rule in hiding for each in verdicts)
        assert (file.filename in shown) is not hidden
        if not hidden:
            assert shown[file.filename] is bool(file.yanked or verdicts)
    if judged.page.files == page.files:
        assert judged.page.versions == page.versions
    by_version: dict[str, set[bool]] = {}
    for file, parsed in zip(page.files, parse_names(page).files, strict=True):
        release = parse_names(page).releases[parsed.release].text
        by_version.setdefault(release, set()).add(file.filename in shown)
    for text in page.versions:
        assert (text in judged.page.versions) is (by_version.get(text) != {False})


@given(pages(), RULES, ROWS, st.sampled_from([0.0, 0.3, 0.999]))
def test_verdicts_hold_until_the_instant_that_the_page_names(
    page: ProjectPage, given_tables: list[dict[str, Any]], rows: list[dict[str, Any]], part: float
) -> None:
    policies = policies_of(*given_tables, exempt=rows)
    judged = judge_listed(page, policies, parse_names(page))
    end = NOW + 1000 * DAY if judged.not_after is None else judged.not_after
    assert end > NOW
    later = judge_listed(page, policies, parse_names(page), NOW + part * (end - NOW))
    assert looks(later.page) == looks(judged.page)
    for kind in ("refusals", "observed", "exempted"):
        assert rules(getattr(later, kind)) == rules(getattr(judged, kind))


def rules(verdicts: Mapping[str, Any]) -> dict[str, list[str]]:
    return {name: [each.rule for each in found] for name, found in verdicts.items()}


@given(pages(), pages(), RULES, RULES, ROWS, st.sampled_from([0.0, DAY, 8 * DAY]))
def test_an_explanation_says_shown_exactly_when_the_page_shows_a_file(
    one: ProjectPage,
    two: ProjectPage,
    inner: list[dict[str, Any]],
    outer: list[dict[str, Any]],
    rows: list[dict[str, Any]],
    later: float,
) -> None:
    """Of an index, of one made of it, and of two indexes that are merged."""
    clock = Clock(NOW + later)

    def guarded(page: ProjectPage, given_tables: list[dict[str, Any]]) -> Index:
        index = FakeIndex("main")
        index.pages[DEMO] = page
        return GuardedFake(index, policies_of(*given_tables, now=clock(), exempt=rows), clock)

    async def ask() -> None:
        single, other = guarded(one, inner), guarded(two, outer)
        nested = Guarded(single, policies_of(*outer, now=clock()), clock)
        for index in (single, nested, Merged("main", [single, other])):
            report = await explain(index, Question(DEMO), clock())
            try:
                shown = looks(await index.page(DEMO))
            except Denied:  # the project is refused as a whole: there is no page
                assert not report.files
                continue
            listed = [each for each in report.files if each.shown]
            assert {each.filename: each.look == "yanked" for each in listed} == shown
            hidden = [each for each in report.files if not each.shown]
            assert all(each.verdicts for each in hidden if not with_owner(each.filename))
            given_pages = [one, two] if isinstance(index, Merged) else [one]
            names = {file.filename for page in given_pages for file in page.files}
            assert {each.filename for each in report.files} == names

    asyncio.run(ask())


def with_owner(filename: str) -> bool:
    """Whether it is a sibling, which looks as its distribution does."""
    return len(list(with_distributions(filename))) > 1
