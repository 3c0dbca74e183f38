"""What is prefetched, what is not, and that no prefetch changes an answer."""

from __future__ import annotations

import asyncio
from typing import Any

from proxy.prefetch.fetcher import PrefetchStats
from proxy.web.access_log import log as access_log
from tests.support.distributions import make_wheel
from tests.support.listings import JSON, json_page
from tests.support.site import Lines
from tests.support.speculating import PrefetchWorld, user_agent
from tests.support.upstream import Fault
from tests.support.waiting import until


async def test_a_page_brings_the_metadata_of_the_newest_wheel(world: PrefetchWorld) -> None:
    world.add("demo", "1.0")
    newest = world.add("demo", "2.0")
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await it.all_guesses_done()
        assert world.asked() == ["demo", f"{newest.entry['filename']}.metadata"]


async def test_metadata_bring_the_wheel_and_all_that_is_needed(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa>=1", "bbb<2; python_version>'3'"])
    world.add("aaa", "1.5", requires=["ccc"])
    world.add("bbb", "1.0")
    world.add("bbb", "2.0")
    world.add("ccc", "0.1")
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert sorted(world.asked()) == [
        *("aaa", "aaa-1.5-py3-none-any.whl.metadata"),
        *("bbb", "bbb-1.0-py3-none-any.whl.metadata"),
        *("ccc", "ccc-0.1-py3-none-any.whl.metadata"),
        *("demo", "demo-1.0-py3-none-any.whl", "demo-1.0-py3-none-any.whl.metadata"),
    ]


async def test_a_whole_install_asks_upstream_for_each_thing_once(world: PrefetchWorld) -> None:
    ccc = world.add("ccc")
    bbb = world.add("bbb", requires=["ccc"])
    aaa = world.add("aaa", requires=["bbb", "ccc>0.1"])
    async with world.open() as it, it.client() as client:
        await client.install(aaa, bbb, ccc)
        await it.all_guesses_done()
        assert it.prefetching.stats.wasted == 0
    assert len(world.asked()) == 9
    assert len(set(world.asked())) == 9


async def test_without_files_the_wheel_is_left_to_the_client(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa"])
    world.add("aaa")
    async with world.open(speculate="metadata") as it, it.client() as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert not [each for each in world.asked() if each.endswith(".whl")]
    assert "aaa-1.0-py3-none-any.whl.metadata" in world.asked()


async def test_a_resolver_that_installs_nothing_gets_no_wheels_ahead(world: PrefetchWorld) -> None:
    demo = world.add("demo")
    agent = user_agent("uv/0.13.9", installer={"name": "uv", "subcommand": ["pip", "compile"]})
    async with world.open() as it, it.client(agent) as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert not [each for each in world.asked() if each.endswith(".whl")]


async def test_switched_off_or_offline_there_is_none(world: PrefetchWorld) -> None:
    async with world.open(speculate="off") as it:
        assert it.proxy.prefetching is None
    async with world.open(offline=True) as it:
        assert it.proxy.prefetching is None


def named(world: PrefetchWorld, **indexes: Any) -> dict[str, Any]:
    """Settings with these indexes of the one upstream."""
    tables = {
        name: {"kind": "mirror", "url": world.upstream.url, **indexes[name]} for name in indexes
    }
    return {"upstream": None, "packages": None, "indexes": tables}


async def test_one_upstream_may_be_left_out(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa"])
    world.add("aaa")
    tables = named(world, main={"speculate": "off"}, other={})
    async with world.open(**tables) as it, it.client() as client:
        assert it.proxy.prefetching
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert world.asked() == ["demo", "demo-1.0-py3-none-any.whl.metadata"]


async def test_the_wheels_of_one_upstream_may_be_left_to_clients(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa"])
    world.add("aaa")
    tables = named(world, main={"speculate": "metadata"}, other={})
    async with world.open(**tables) as it, it.client() as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert not [each for each in world.asked() if each.endswith(".whl")]
    assert "aaa-1.0-py3-none-any.whl.metadata" in world.asked()


async def test_nothing_is_prefetched_for_a_client_without_a_target(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa"])
    world.add("aaa")
    async with world.open() as it, it.client("curl/8.9.1") as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert world.asked() == ["demo", "demo-1.0-py3-none-any.whl.metadata"]


async def test_private_and_reserved_names_are_not_asked_for_upstream(world: PrefetchWorld) -> None:
    private = make_wheel(world.packages, "ours", "1.0", requires=["secret-lib", "public"])
    demo = world.add("demo", requires=["ours", "secret-lib", "public"])
    for name in ("ours", "secret-lib", "public"):
        world.add(name, "9.0")
    async with world.open(reserved=["secret-*"]) as it, it.client() as client:
        await client.page("demo")
        await client.metadata(demo)
        await client.page("ours")
        await it.all_guesses_done()
    assert private.exists()
    assert not [each for each in world.asked() if "ours" in each or "secret" in each]
    assert "public" in world.asked()


async def test_what_a_private_project_needs_is_fetched_ahead(world: PrefetchWorld) -> None:
    wheel = make_wheel(world.packages, "ours", "1.0", requires=["public"])
    world.add("public")
    async with world.open() as it, it.client() as client:
        (file,) = (await client.page("ours"))["files"]
        await client.get(f"/simple/ours/{file['url']}.metadata")
        await it.all_guesses_done()
    assert wheel.name not in "".join(world.asked())
    assert world.asked() == ["public", "public-1.0-py3-none-any.whl.metadata"]


async def test_extras_that_are_asked_for_count_and_others_do_not(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa[fast]", "ddd; extra == 'docs'"])
    world.add("aaa", requires=["bbb; extra == 'fast'", "ccc; extra == 'slow'"])
    for name in ("bbb", "ccc", "ddd"):
        world.add(name)
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    assert "bbb" in world.asked()
    assert not {"ccc", "ddd"} & set(world.asked())


async def test_a_real_request_joins_a_guess_that_is_under_way(world: PrefetchWorld) -> None:
    demo = world.add("demo")
    gate = asyncio.Event()
    world.upstream.fault(".metadata", Fault(hang=gate))
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await until(lambda: world.upstream.count(".metadata") == 1)
        asking = asyncio.create_task(client.metadata(demo))
        await asyncio.sleep(0)
        gate.set()
        assert await asking == demo.metadata
        await it.all_guesses_done()
        assert world.upstream.count(".metadata") == 1
        assert it.prefetching.stats == PrefetchStats(
            fetched=2, hits=1, hit_bytes=len(demo.metadata or b"")
        )


async def test_guesses_that_fail_are_silent_and_stop_nothing(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["gone", "aaa"])
    world.add("aaa")
    world.upstream.fault("demo-1.0-py3-none-any.whl", Fault(corrupt=True), times=1)
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await it.all_guesses_done()
        assert await client.metadata(demo) == demo.metadata
        await it.all_guesses_done()
    assert {"gone", "aaa"} <= set(world.asked())


async def test_a_session_that_pins_versions_gets_no_more_guesses_of_the_newest(
    world: PrefetchWorld,
) -> None:
    old = [world.add(f"demo-{number}", "1.0") for number in range(6)]
    for number in range(6):
        world.add(f"demo-{number}", "2.0")
    async with world.open() as it, it.client() as client:
        for wheel in old:
            await client.page(wheel.project)
            await it.all_guesses_done()
            await client.metadata(wheel)
            await it.all_guesses_done()
    guessed = [each for each in world.asked() if each.endswith("2.0-py3-none-any.whl.metadata")]
    assert len(guessed) == 3


async def test_what_came_from_the_cache_leads_to_no_guess(world: PrefetchWorld) -> None:
    demo = world.add("demo", requires=["aaa"])
    world.add("aaa")
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await client.metadata(demo)
        await it.all_guesses_done()
    before = len(world.asked())
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        assert it.prefetching.idle
        await client.metadata(demo)
        assert it.prefetching.idle
    assert len(world.asked()) == before


async def test_no_metadata_is_prefetched_for_a_client_that_has_the_page(
    world: PrefetchWorld,
) -> None:
    world.add("demo")
    async with world.open() as it, it.client() as client:
        etag = (await client.get("/simple/demo/")).headers["ETag"]
        await it.all_guesses_done()
    world.upstream.requests.clear()
    async with world.open(cache_dir=world.root / "new") as it, it.client() as client:
        answer = await client.get("/simple/demo/", **{"If-None-Match": etag})
        assert answer.status == 304
        await it.all_guesses_done()
    assert world.asked() == ["demo"]


async def test_files_of_unknown_size_or_too_large_are_not_fetched_ahead(
    world: PrefetchWorld,
) -> None:
    unknown = world.upstream.add(make_wheel(world.root, "aaa", "1.0"), size=False)
    large = world.add("bbb")
    url = world.upstream.url_of(large.entry["filename"])
    entry = {**large.entry, "url": url, "size": 2**26 + 1}
    world.upstream.pages["bbb"] = json_page("bbb", [entry], {}), JSON
    async with world.open() as it, it.client() as client:
        for wheel in (unknown, large):
            await client.page(wheel.project)
            await client.metadata(wheel)
        await it.all_guesses_done()
    assert not [each for each in world.asked() if each.endswith(".whl")]


async def test_metadata_that_may_cost_a_large_wheel_are_not_guessed(world: PrefetchWorld) -> None:
    large = world.add("demo")
    url = world.upstream.url_of(large.entry["filename"])
    entry = {**large.entry, "url": url, "size": 2**26 + 1}
    world.upstream.pages["demo"] = json_page("demo", [entry], {}), JSON
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await it.all_guesses_done()
    assert world.asked() == ["demo"]


async def test_unused_prefetches_are_counted_as_waste(world: PrefetchWorld) -> None:
    demo = world.add("demo")
    async with world.open() as it, it.client() as client:
        await client.page("demo")
        await it.all_guesses_done()
        await it.prefetching.sweep()
        assert it.prefetching.stats == PrefetchStats(fetched=1)
        world.clock.advance(601)
        await it.prefetching.sweep()
        size = len(demo.metadata or b"")
        assert it.prefetching.stats == PrefetchStats(fetched=1, wasted=1, wasted_bytes=size)


async def test_the_outcome_of_a_request_is_its_own_and_no_guess_of_it(world: PrefetchWorld) -> None:
    demo = world.add("demo")
    lines = Lines()
    access_log.addHandler(lines)
    level = access_log.level
    access_log.setLevel("INFO")
    try:
        async with world.open() as it, it.client() as client:
            await client.page("demo")
            await it.all_guesses_done()
            await client.metadata(demo)
            await it.all_guesses_done()
            assert [(await lines.next())["outcome"] for _ in range(2)] == ["miss", "hit"]
    finally:
        access_log.removeHandler(lines)
        access_log.setLevel(level)
