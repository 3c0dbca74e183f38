"""The history of projects requested together: bounded, kept over restarts, used to prefetch."""

from __future__ import annotations

import pytest

from proxy.maintenance import purge, purge_everything
from proxy.model import ProjectName
from proxy.prefetch.sessions import MAX_MEMBERS, MIN_TIMES, InstallHistory, Taken
from proxy.storage.keys import RecordKind
from tests.support.records import CountedRecords
from tests.support.speculating import PrefetchWorld


def taken(*names: str) -> list[Taken]:
    return [Taken(ProjectName(name)) for name in names]


@pytest.fixture
def records() -> CountedRecords:
    return CountedRecords()


@pytest.fixture
def together(records: CountedRecords) -> InstallHistory:
    return InstallHistory(records, "main")


async def recalled(together: InstallHistory, project: str) -> list[str]:
    return [each.project for each in await together.recall(ProjectName(project))]


async def test_each_project_recalls_what_it_was_asked_for_with(together: InstallHistory) -> None:
    await together.remember(taken("aaa", "bbb", "ccc"))
    for name in ("aaa", "bbb", "ccc"):
        assert await recalled(together, name) == ["aaa", "bbb", "ccc"]
    assert await recalled(together, "ddd") == []


async def test_what_a_project_opened_itself_goes_before_what_it_was_part_of(
    together: InstallHistory,
) -> None:
    await together.remember(taken("bbb", "xxx"))
    await together.remember(taken("aaa", "bbb", "ccc"))
    assert await recalled(together, "bbb") == ["bbb", "xxx"]
    assert await recalled(together, "ccc") == ["aaa", "bbb", "ccc"]


async def test_the_last_install_comes_first_and_what_is_missing_time_and_again_goes(
    together: InstallHistory,
) -> None:
    await together.remember(taken("aaa", "bbb", "ccc"))
    for _ in range(MIN_TIMES - 1):
        await together.remember(taken("aaa", "ddd"))
        assert await recalled(together, "aaa") == ["aaa", "ddd", "bbb", "ccc"]
    await together.remember(taken("aaa", "ddd"))
    assert await recalled(together, "aaa") == ["aaa", "ddd"]


async def test_one_project_alone_is_no_install(
    together: InstallHistory, records: CountedRecords
) -> None:
    await together.remember(taken("aaa"))
    assert records.content == {}


async def test_the_same_install_again_writes_nothing(
    together: InstallHistory, records: CountedRecords
) -> None:
    await together.remember(taken("aaa", "bbb"))
    writes = records.writes
    await together.remember(taken("aaa", "bbb"))
    assert records.writes == writes


async def test_an_install_is_remembered_up_to_a_size(
    together: InstallHistory, records: CountedRecords
) -> None:
    await together.remember(taken(*(f"p{number}" for number in range(2 * MAX_MEMBERS))))
    assert len(records.content) == MAX_MEMBERS
    assert len(await recalled(together, "p0")) == MAX_MEMBERS


async def test_records_that_cannot_be_read_are_as_good_as_absent(
    together: InstallHistory, records: CountedRecords
) -> None:
    await together.remember(taken("aaa", "bbb"))
    records.content["together/main/aaa"] = b"junk"
    assert await recalled(together, "aaa") == []
    assert await recalled(together, "bbb") == []
    await together.remember(taken("aaa", "bbb"))
    assert await recalled(together, "bbb") == ["aaa", "bbb"]


async def test_the_next_install_is_prefetched_from_one_page_even_with_an_emptied_cache(
    world: PrefetchWorld,
) -> None:
    wheels = [world.add(name) for name in ("aaa", "bbb", "ccc")]
    async with world.open() as it, it.client() as client:
        await client.install(*wheels)
        await it.all_guesses_done()
    async with world.cache() as cache:
        await purge_everything(cache)
    world.upstream.requests.clear()
    async with world.open() as it, it.client() as client:
        await client.page("bbb")
        await it.all_guesses_done()
        assert it.prefetching.stats.fetched == 5
    names = ("aaa", "bbb", "ccc")
    metadata = [f"{name}-1.0-py3-none-any.whl.metadata" for name in names]
    assert sorted(world.asked()) == sorted([*names, *metadata])


async def test_a_version_that_was_taken_though_not_the_newest_is_expected_again(
    world: PrefetchWorld,
) -> None:
    first, old = world.add("aaa"), world.add("bbb", "1.0")
    world.add("bbb", "2.0")
    async with world.open() as it, it.client() as client:
        await client.install(first, old)
        await it.all_guesses_done()
    async with world.cache() as cache:
        await purge_everything(cache)
    world.upstream.requests.clear()
    async with world.open() as it, it.client() as client:
        await client.page("aaa")
        await it.all_guesses_done()
    assert "bbb-1.0-py3-none-any.whl.metadata" in world.asked()
    assert "bbb-2.0-py3-none-any.whl.metadata" not in world.asked()


async def test_what_was_the_newest_is_not_expected_where_there_is_a_newer(
    world: PrefetchWorld,
) -> None:
    wheels = [world.add("aaa"), world.add("bbb", "1.0")]
    async with world.open() as it, it.client() as client:
        await client.install(*wheels)
        await it.all_guesses_done()
    world.add("bbb", "2.0")
    async with world.cache() as cache:
        await purge_everything(cache)
    world.upstream.requests.clear()
    async with world.open() as it, it.client() as client:
        await client.page("aaa")
        await it.all_guesses_done()
    assert "bbb-2.0-py3-none-any.whl.metadata" in world.asked()
    assert "bbb-1.0-py3-none-any.whl.metadata" not in world.asked()


async def test_an_install_is_put_down_when_it_is_over_and_not_only_at_the_end(
    world: PrefetchWorld,
) -> None:
    wheels = [world.add("aaa"), world.add("bbb")]
    async with world.open() as it, it.client() as client:
        await client.install(*wheels)
        await it.all_guesses_done()
        await it.prefetching.sweep()
        assert await it.proxy.cache.records.keys(RecordKind.INSTALL_HISTORY) == []
        world.clock.advance(31)
        await it.prefetching.sweep()
        assert len(await it.proxy.cache.records.keys(RecordKind.INSTALL_HISTORY)) == 2


async def test_nothing_is_remembered_of_clients_without_a_target(world: PrefetchWorld) -> None:
    wheels = [world.add("aaa"), world.add("bbb")]
    async with world.open() as it, it.client("crawler/1.0") as client:
        await client.install(*wheels)
    async with world.cache() as cache:
        assert await cache.records.keys(RecordKind.INSTALL_HISTORY) == []


async def test_a_purge_of_a_project_forgets_what_it_was_asked_for_with(
    world: PrefetchWorld,
) -> None:
    wheels = [world.add("aaa"), world.add("bbb")]
    async with world.open() as it, it.client() as client:
        await client.install(*wheels)
    async with world.cache() as cache:
        await purge(cache, ["aaa"])
        assert await cache.records.keys(RecordKind.INSTALL_HISTORY) == ["together/main/bbb"]
