"""Two indexes in one application: answers, events and prefetching of the two do not mix."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from proxy.events import AnswerServed, Event, Events, Outcome
from proxy.model import ProjectName
from proxy.prefetch import PrefetchLimits, open_prefetchers
from proxy.storage.in_memory import MemoryRecords
from proxy.web.fast_path_events import FastPathEvents
from tests.support.clock import Clock
from tests.support.distributions import core_metadata
from tests.support.fake_index import FakeIndex
from tests.support.site import Site, serving
from tests.support.speculating import user_agent
from tests.support.waiting import until

FOO = ProjectName("foo")
WHEEL = "foo-1.0-py3-none-any.whl"
PIP = {"User-Agent": user_agent()}
ROOTS = {"main": "", "team": "/team"}


class Both:
    """Two indexes with a project of one name, version and file name, but other bytes."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.indexes = {name: FakeIndex(name) for name in ROOTS}
        self.served: list[AnswerServed] = []
        self.rechecked: list[tuple[str, ProjectName]] = []
        self.events = Events(self._note)
        for name, index in self.indexes.items():
            index.add("foo", WHEEL, f"wheel of {name}".encode(), metadata=True)
            index.add_sibling("foo", WHEEL + ".metadata", core_metadata("foo", "1.0"))
            index.describe("foo", fresh_until=clock() + 60, stale_until=clock() + 120)

    def _note(self, event: Event) -> None:
        if isinstance(event, AnswerServed):
            self.served.append(event)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Site]:
        """Events of the fast path come when it stops."""
        fast = FastPathEvents(self.events)
        async with (
            fast.running(),
            serving(
                self.indexes["main"],
                fast=True,
                mounted={"/team": self.indexes["team"]},
                observers=[self.events],
                on_hit=fast.hit,
                clock=self.clock,
                recheck=lambda *stale: self.rechecked.append(stale),
            ) as site,
        ):
            yield site

    def path_of(self, name: str) -> str:
        digest = self.indexes[name].pages[FOO].files[0].address_digest
        return f"{ROOTS[name]}/files/foo/{digest}/{WHEEL}"


@pytest.fixture
def both(clock: Clock) -> Both:
    return Both(clock)


async def test_pages_and_files_are_those_of_the_index_at_the_root(both: Both) -> None:
    async with both.serving() as site:
        for _ in range(3):
            for name, root in ROOTS.items():
                digest = both.indexes[name].pages[FOO].files[0].sha256
                assert digest and digest.encode() in (await site.get(f"{root}/simple/foo/")).body
                assert (await site.get(both.path_of(name))).body == f"wheel of {name}".encode()
        other = both.path_of("main")
        assert (await site.get(f"/team{other}")).status == 404


async def test_a_change_of_one_index_leaves_pages_of_the_other_as_they_are(both: Both) -> None:
    async with both.serving() as site:
        before = {root: (await site.get(f"{root}/simple/foo/")).body for root in ROOTS.values()}
        both.indexes["team"].add("foo", "foo-2.0-py3-none-any.whl", b"new")
        after = {root: (await site.get(f"{root}/simple/foo/")).body for root in ROOTS.values()}
    assert after[""] == before[""]
    assert b"foo-2.0" in after["/team"]


async def test_a_project_of_one_index_is_none_of_the_other(both: Both) -> None:
    both.indexes["team"].add("secret", "secret-1.0.tar.gz", b"secret")
    async with both.serving() as site:
        for _ in range(2):
            assert (await site.get("/team/simple/secret/")).status == 200
            assert (await site.get("/simple/secret/")).status == 404
            assert b"secret" not in (await site.get("/simple/")).body
            assert b"secret" in (await site.get("/team/simple/")).body


async def test_events_name_their_index_on_both_paths(both: Both) -> None:
    async with both.serving() as site:
        for _ in range(2):
            for name, root in ROOTS.items():
                await site.get(f"{root}/simple/foo/")
                await site.get(both.path_of(name))
    seen = {(each.index, each.path, each.cached) for each in both.served}
    assert seen == {
        (name, path, cached)
        for name, root in ROOTS.items()
        for path in (f"{root}/simple/foo/", both.path_of(name))
        for cached in (False, True)
    }


async def test_a_stale_page_is_rechecked_in_its_own_index(both: Both, clock: Clock) -> None:
    async with both.serving() as site:
        for root in ROOTS.values():
            await site.get(f"{root}/simple/foo/")
        clock.advance(61)
        await site.get("/team/simple/foo/")
    assert both.rechecked == [("team", FOO)]


async def test_prefetching_asks_the_index_that_was_requested(both: Both) -> None:
    team, main = both.indexes["team"], both.indexes["main"]
    async with AsyncExitStack() as stack:
        prefetching = await stack.enter_async_context(
            open_prefetchers(
                (main, team),
                MemoryRecords(),
                both.events,
                lambda: 0,
                connections=8,
                limits=PrefetchLimits(),
            )
        )
        site = await stack.enter_async_context(both.serving())
        team.outcome = Outcome.MISS
        await site.get("/team/simple/foo/", headers=PIP)
        await until(lambda: f"foo/{WHEEL}.metadata" in team.asked)
        await until(lambda: prefetching.idle)
    assert main.asked == []
