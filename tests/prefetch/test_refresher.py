"""Pages in use are rechecked before they expire, others are not."""

from __future__ import annotations

import pytest

from proxy.errors import UpstreamError
from proxy.model import ProjectName, ProjectPage
from proxy.prefetch.scheduler import IN_USE, REFRESH_AHEAD, Refresher
from tests.support.clock import Clock

DEMO = ProjectName("demo")


class Index:
    """Answers pages that are fresh for so long, and says what it was asked for."""

    name = "test"

    def __init__(self, clock: Clock, lifetime: float = 600.0) -> None:
        self.clock = clock
        self.lifetime: float | None = lifetime
        self.asked: list[tuple[str, float]] = []
        self.error: Exception | None = None

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        self.asked.append((project, checked_after))
        if self.error:
            raise self.error
        return self.made(project)

    def made(self, project: ProjectName = DEMO) -> ProjectPage:
        until = None if self.lifetime is None else self.clock() + self.lifetime
        return ProjectPage(project, (), fresh_until=until)


@pytest.fixture
def index(clock: Clock) -> Index:
    return Index(clock)


@pytest.fixture
def refresher(index: Index, clock: Clock) -> Refresher:
    return Refresher(index, pause=0.0, clock=clock)  # type: ignore[arg-type]


async def test_a_page_is_rechecked_shortly_before_it_expires_and_not_earlier(
    index: Index, refresher: Refresher, clock: Clock
) -> None:
    refresher.requested(DEMO, index.made())
    clock.advance(600 - REFRESH_AHEAD - 1)
    await refresher.refresh()
    assert index.asked == []
    clock.advance(1)
    await refresher.refresh()
    assert index.asked == [(DEMO, clock())]
    await refresher.refresh()
    assert len(index.asked) == 1


async def test_a_page_is_kept_fresh_for_an_hour_after_its_last_request(
    index: Index, refresher: Refresher, clock: Clock
) -> None:
    refresher.requested(DEMO, index.made())
    for _ in range(200):
        clock.advance(60)
        await refresher.refresh()
    assert len(index.asked) == IN_USE // 540
    assert index.asked[-1][1] <= 1_790_000_000 + IN_USE


@pytest.mark.parametrize("lifetime", [None, 0.0, REFRESH_AHEAD])
async def test_local_pages_and_those_that_live_shortly_are_left_alone(
    index: Index, refresher: Refresher, clock: Clock, lifetime: float | None
) -> None:
    index.lifetime = lifetime
    refresher.requested(DEMO, index.made())
    clock.advance(REFRESH_AHEAD)
    await refresher.refresh()
    assert index.asked == []


async def test_a_page_that_fails_is_not_requested_again(
    index: Index, refresher: Refresher, clock: Clock
) -> None:
    refresher.requested(DEMO, index.made())
    index.error = UpstreamError("pypi", "it answered 503")
    clock.advance(590)
    await refresher.refresh()
    await refresher.refresh()
    assert len(index.asked) == 1
