"""Views of an index as of an instant: which address has which, and how many are kept."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

import pytest

from proxy.composition import index_as_of
from proxy.indexes import Guarded, Index
from proxy.model import Moment, ProjectName
from proxy.policies import ParsedPages
from proxy.web.as_of import MAX_VIEWS, canonical
from tests.support.clock import Clock
from tests.support.fake_index import FakeIndex
from tests.support.judging import policies_of
from tests.support.policies import GuardedFake, upload_time
from tests.support.site import serving

DAY = 86400
NEW = 1_767_225_600 + 100 * DAY
"""2026-04-11."""


@pytest.fixture
def index() -> FakeIndex:
    made = FakeIndex("main", {"foo": []})
    for number in range(100):
        made.add("foo", f"foo-{number}.zip", b"", uploaded=upload_time(NEW - number * DAY))
    return made


class Views:
    """Makes views, and notes of which instants."""

    def __init__(self) -> None:
        self.made: list[float] = []
        self._pages = ParsedPages()

    def __call__(self, index: Index, moment: Moment) -> Index:
        self.made.append(moment.at)
        return index_as_of(index, moment, self._pages)


async def test_views_are_made_once_and_the_least_recently_used_go(index: FakeIndex) -> None:
    views, start = Views(), NEW - 99 * DAY
    days = [canonical(start + number * DAY) for number in range(MAX_VIEWS + 1)]
    async with serving(index, as_of=views, clock=Clock(NEW)) as site:
        for number, day in enumerate(days):
            for _ in range(2):
                answer = await site.get(f"/+asof/{day}/simple/foo/")
                assert answer.status == 200
                assert answer.body.count(b"<a ") == number
        assert len(views.made) == MAX_VIEWS + 1
        await site.get(f"/+asof/{days[-1]}/simple/foo/")
        await site.get(f"/+asof/{days[1]}/simple/foo/")
        assert len(views.made) == MAX_VIEWS + 1
        await site.get(f"/+asof/{days[0]}/simple/foo/")
        assert len(views.made) == MAX_VIEWS + 2


async def test_the_project_list_is_one_for_all_instants(index: FakeIndex) -> None:
    """Clients invent any number of instants, and a list may have a million names."""
    other = FakeIndex("other")
    other.add(ProjectName("bar"), "bar-1.0.tar.gz", b"x")
    async with serving(index, as_of=lambda index, moment: other, clock=Clock(NEW)) as site:
        assert b"bar" in (await site.get("/+asof/2020-01-01/simple/bar/")).body
        listed = await site.get("/simple/")
        for day in ("2020-01-01", "2020-01-02"):
            answer = await site.get(f"/+asof/{day}/simple/")
            assert answer.body == listed.body
            assert b"foo" in answer.body


async def test_addresses_of_one_view_stay_below_it_and_have_its_verdicts(index: FakeIndex) -> None:
    then = canonical(NEW)
    (late, early) = (index.pages[each].files[at] for each in index.pages for at in (0, 1))
    async with serving(index, fast=True, twice=True, as_of=Views(), prefix="/base") as site:
        for base in ("", "/base"):
            for root in ("", "/+asof/" + then):
                page = (await site.get(f"{base}{root}/simple/foo/")).body.decode()
                assert 'href="../../files/foo/' in page
                assert (late.filename in page) is not bool(root)
                for file, status in ((early, 200), (late, 403 if root else 200)):
                    address = f"/files/foo/{file.address_digest}/{file.filename}"
                    answer = await site.get(f"{base}{root}{address}")
                    assert answer.status == status
                    if status == 403:
                        assert answer.headers["Waystation-Rule"] == "as-of"
                        assert f"{root}/+explain/foo/{late.filename}" in answer.body.decode()
            explained = await site.get(f"{base}/+asof/{then}/+explain/foo/{late.filename}")
            assert b'"as-of"' in explained.body


async def test_an_old_state_is_under_the_rules_of_today(index: FakeIndex) -> None:
    guarded = GuardedFake(index, policies_of({"kind": "deny", "versions": {"foo": "==1"}}))
    async with serving(guarded, as_of=Views()) as site:
        page = (await site.get(f"/+asof/{canonical(NEW)}/simple/foo/")).body.decode()
        assert "foo-0.zip" not in page
        assert 'data-yanked="refused by rule p0: foo 1 is denied"' in page


async def test_without_views_there_are_no_such_addresses(index: FakeIndex) -> None:
    async with serving(index) as site:
        assert (await site.get("/+asof/2026-01-01/simple/foo/")).status == 404


@pytest.mark.parametrize(
    ("spelling", "status"),
    [
        ("2026-04-11", 200),
        ("2026-04-11T00:00:00Z", 301),
        ("2026-04-11T00:00:00.9Z", 301),
        ("2026-04-10T22:00:00-02:00", 301),
        ("2026-04-12", 404),
        ("2026-04-11T00:00:01Z", 404),
        ("20260411", 404),
        ("2026-W15-6", 404),
        ("2026-4-11", 404),
        ("+2026-04-11", 404),
        ("2026-02-30", 404),
        ("0001-01-01", 404),
        ("0001-01-01T00:00+23:59", 404),
        ("9999-12-31T23:59:59-23:59", 404),
        ("\u0662\u0660\u0662\u0666-04-11", 404),
        ("2026-04-11%0d%0aX: y", 404),
        ("x" * 5000, 404),
    ],
)
async def test_spellings_of_instants(index: FakeIndex, spelling: str, status: int) -> None:
    async with serving(index, as_of=Views(), clock=Clock(NEW)) as site:
        answer = await site.get(f"/+asof/{quote(spelling, safe='%:+')}/simple/foo/?x=1")
        assert answer.status == status
        if status == 301:
            assert answer.headers["Location"] == "../../../2026-04-11/simple/foo/?x=1"


@pytest.mark.parametrize(
    ("time", "text"),
    [
        (datetime(2026, 5, 1, tzinfo=UTC), "2026-05-01"),
        (datetime(2026, 5, 1, 12, tzinfo=UTC), "2026-05-01T12:00Z"),
        (datetime(2026, 5, 1, 0, 0, 1, tzinfo=UTC), "2026-05-01T00:00:01Z"),
    ],
)
def test_each_instant_has_one_spelling(time: datetime, text: str) -> None:
    assert canonical(time.timestamp()) == text


async def test_a_view_of_a_view_adds_up(index: FakeIndex, clock: Clock) -> None:
    inner = index_as_of(index, Moment(NEW - 10 * DAY), ParsedPages())
    for instant, expected in ((NEW, 89), (NEW - 20 * DAY, 79)):
        outer = index_as_of(inner, Moment(instant), ParsedPages())
        assert isinstance(outer, Guarded)
        (project,) = index.pages
        assert len((await outer.page(project)).files) == expected
