"""When upstream is asked for a page, and by how many."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import NoSuchProject, UpstreamError, UpstreamTimeout
from proxy.events import Outcome
from tests.support.mirror_site import DEMO, PAGE, MirrorSite
from tests.support.upstream import Fault
from tests.support.waiting import until

HIT, REVALIDATED, STALE, MISS, JOINED, *_ = Outcome
ONE, TWO = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"


async def test_a_fresh_page_is_answered_without_asking(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        for _ in range(3):
            assert await it.names() == [ONE]
            site.clock.advance(299)
        assert it.outcomes == [MISS, HIT, HIT]
    assert site.upstream.count(PAGE) == 1


async def test_a_page_says_until_when_it_is_fresh_and_when_it_was_checked(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        page = await it.page()
        assert (page.checked, page.fresh_until) == (site.clock(), site.clock() + 600)


async def test_not_modified_renews_the_lifetime(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        first = await it.page()
        site.clock.advance(601)
        page = await it.page()
        assert page.fresh_until == site.clock() + 600
        assert page.version == first.version
        site.clock.advance(599)
        await it.page()
        assert it.outcomes == [MISS, REVALIDATED, HIT]
    asked = site.upstream.of(PAGE)
    assert len(asked) == 2
    assert asked[1].headers["If-None-Match"] and asked[1].headers["If-Modified-Since"]


async def test_not_modified_renews_also_what_is_stored(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        await it.page()
        site.clock.advance(601)
        await it.page()
    site.clock.advance(599)
    async with site.open() as it:
        assert await it.names() == [ONE]
    assert site.upstream.count(PAGE) == 2


async def test_new_versions_are_listed_after_the_lifetime(site: MirrorSite) -> None:
    wheel = site.add()
    async with site.open() as it:
        await it.get(ONE, wheel.entry["hashes"]["sha256"])
        site.add("2.0")
        site.clock.advance(601)
        assert await it.names() == [ONE, TWO]


@pytest.mark.parametrize(
    ("control", "settings", "lifetime"),
    [
        ("max-age=100", {}, 100),
        ("max-age=100, s-maxage=50", {}, 50),
        ("max-age=100", {"page_ttl": 30}, 30),
        ("max-age=86400", {}, 600),
        ("max-age=1", {"page_ttl_min": 20}, 20),
        ("no-cache", {}, 0),
        (None, {}, 600),
        (None, {"page_ttl": 7}, 7),
        ("no-store", {}, 0),
        ("private", {"page_ttl_min": 20}, 20),
        ("no-store, max-age=300", {"page_ttl_min": 20}, 20),
    ],
)
async def test_upstream_decides_how_long_a_page_is_fresh_within_bounds(
    site: MirrorSite, control: str | None, settings: dict[str, float], lifetime: float
) -> None:
    site.add()
    site.upstream.cache_control = control
    async with site.open(**settings) as it:
        assert (await it.page()).fresh_until == site.clock() + lifetime
        site.clock.advance(lifetime * 0.99)
        await it.page()
        assert site.upstream.count(PAGE) == (1 if lifetime else 2)
        site.clock.advance(lifetime)
        await it.page()
        assert site.upstream.count(PAGE) == (2 if lifetime else 3)


FORBIDDEN = [
    {"Cache-Control": "no-store"},
    {"Cache-Control": "no-cache, no-store, max-age=0"},
    {"Cache-Control": "max-age=300, private"},
    {"Cache-Control": "private=set-cookie, max-age=300"},
    {"Vary": "Accept, Cookie"},
    {"Vary": "*"},
]


@pytest.mark.parametrize("headers", FORBIDDEN)
async def test_pages_that_upstream_forbids_to_store_are_there_offline_and_never_fresh(
    site: MirrorSite, headers: dict[str, str]
) -> None:
    wheel = site.add()
    site.upstream.page_headers = headers
    async with site.open() as it:
        assert await it.names() == [ONE]
        assert await it.names() == [ONE]
        assert it.outcomes == [MISS, REVALIDATED]
        await it.get(ONE, wheel.entry["hashes"]["sha256"])
    async with site.open() as it:  # restarted, with that page in the store
        assert await it.names() == [ONE]
        assert it.outcomes == [REVALIDATED]
    async with site.open(offline=True) as it:
        assert await it.names() == [ONE]


@pytest.mark.parametrize("headers", FORBIDDEN)
async def test_honour_no_store_keeps_such_pages_out_of_the_store(
    site: MirrorSite, headers: dict[str, str]
) -> None:
    site.add()
    async with site.open(honour_no_store=True, page_ttl=0) as it:
        await it.page()  # stored: upstream forbids it later
        site.upstream.page_headers = headers
        site.upstream.etags = False
        site.add("2.0")
        assert await it.names() == [ONE, TWO]
        assert await it.names() == [ONE, TWO]
    async with site.open() as it:
        kinds = {kind.partition("/")[0] for kind in await it.cache.records.keys()}
        assert kinds == {"seen"}


async def test_a_no_cache_request_gets_a_page_revalidated_since(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        await it.page()
        site.clock.advance(20)
        site.add("2.0")
        assert await it.names(checked_after=site.clock() - 20) == [ONE]
        assert await it.names(checked_after=site.clock() - 10) == [ONE, TWO]
        assert await it.names(checked_after=site.clock() - 10) == [ONE, TWO]
        assert it.outcomes == [MISS, HIT, MISS, HIT]


async def test_a_no_cache_request_gets_the_stored_page_while_upstream_fails(
    site: MirrorSite,
) -> None:
    site.add()
    async with site.open() as it:
        await it.page()
        site.clock.advance(20)
        site.upstream.fault(PAGE, Fault(status=500))
        for _ in range(3):
            assert await it.names(checked_after=site.clock() - 10) == [ONE]
    assert site.upstream.count(PAGE) == 2


async def test_a_page_that_is_sent_again_unchanged_counts_as_revalidated(site: MirrorSite) -> None:
    site.add()
    site.upstream.etags = False
    async with site.open() as it:
        await it.page()
        site.clock.advance(601)
        await it.page()
        site.add("2.0")
        site.clock.advance(601)
        await it.page()
        assert it.outcomes == [MISS, REVALIDATED, MISS]


async def test_names_that_do_not_exist_leave_no_trace(site: MirrorSite) -> None:
    async with site.open() as it:
        for number in range(50):
            for _ in range(2):
                with pytest.raises(NoSuchProject):
                    await it.page(f"nothing-{number}")
        assert await it.cache.records.keys() == []
    assert site.upstream.count("nothing") == 50


async def test_a_project_is_visible_soon_after_it_appears(site: MirrorSite) -> None:
    async with site.open() as it:
        with pytest.raises(NoSuchProject):
            await it.page()
        site.add()
        site.clock.advance(29)
        with pytest.raises(NoSuchProject):
            await it.page()
        site.clock.advance(2)
        assert await it.names() == [ONE]
    assert site.upstream.count(PAGE) == 2


async def test_a_cached_absence_ends_when_the_project_is_found(site: MirrorSite) -> None:
    async with site.open() as it:
        with pytest.raises(NoSuchProject):
            await it.page()
        site.add()
        site.clock.advance(11)
        assert await it.names(checked_after=site.clock() - 10) == [ONE]
        assert await it.names() == [ONE]


@pytest.mark.parametrize("warm", [False, True])
async def test_two_hundred_waiters_are_one_request(site: MirrorSite, warm: bool) -> None:
    site.add()
    gate = asyncio.Event()
    async with site.open() as it:
        if warm:
            await it.page()
            site.clock.advance(601)
            site.add("2.0")
        before = site.upstream.count(PAGE)
        site.upstream.fault(PAGE, Fault(hang=gate))
        waiting = [asyncio.create_task(it.page()) for _ in range(200)]
        await until(lambda: site.upstream.count(PAGE) > before)
        gate.set()
        pages = await asyncio.gather(*waiting)
        assert {len(page.files) for page in pages} == {1 + warm}
        assert sorted(it.outcomes[-200:]) == [JOINED] * 199 + [MISS]
    assert site.upstream.count(PAGE) == before + 1


async def test_cancelling_the_first_caller_does_not_affect_the_others(site: MirrorSite) -> None:
    site.add()
    gate = asyncio.Event()
    site.upstream.fault(PAGE, Fault(hang=gate))
    async with site.open() as it:
        first = asyncio.create_task(it.page())
        await until(lambda: site.upstream.count(PAGE) == 1)
        others = [asyncio.create_task(it.names()) for _ in range(3)]
        first.cancel()
        gate.set()
        assert await asyncio.gather(*others) == [[ONE]] * 3
        with pytest.raises(asyncio.CancelledError):
            await first
    assert site.upstream.count(PAGE) == 1


async def test_a_refresh_that_everybody_left_is_finished(site: MirrorSite) -> None:
    site.add()
    gate = asyncio.Event()
    site.upstream.fault(PAGE, Fault(hang=gate))
    async with site.open() as it:
        only = asyncio.create_task(it.page())
        await until(lambda: site.upstream.count(PAGE) == 1)
        only.cancel()
        gate.set()
        await it.heard.until(lambda: it.heard.changes() == [DEMO])
        assert await it.names() == [ONE]
    assert site.upstream.count(PAGE) == 1


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=500),
        Fault(status=503),
        Fault(status=403),
        Fault(status=401),
        Fault(status=429),
        Fault(status=204),
        Fault(reset=True),
        Fault(truncate=20),
        Fault(body=b"{", content_type="application/vnd.pypi.simple.v1+json"),
        Fault(body=b"<html><form>Please sign in</form></html>"),
    ],
)
async def test_an_outage_is_no_absence_and_nothing_is_kept_of_it(
    site: MirrorSite, fault: Fault
) -> None:
    site.add()
    site.upstream.fault(PAGE, fault)
    async with site.open() as it:
        for _ in range(2):
            with pytest.raises(UpstreamError):
                await it.page()
        site.upstream.heal()
        assert await it.cache.records.keys() == []
        assert await it.names() == [ONE]


async def test_an_upstream_that_hangs_is_a_timeout(site: MirrorSite) -> None:
    site.add()
    site.upstream.fault(PAGE, Fault(hang=True))
    async with site.open(page_timeout=0.1) as it:
        with pytest.raises(UpstreamTimeout):
            await it.page()
        site.upstream.heal()
        assert await it.names() == [ONE]


async def test_what_means_absence_can_be_configured(site: MirrorSite) -> None:
    site.upstream.fault(PAGE, Fault(status=403))
    async with site.open(missing_statuses=[403, 404]) as it:
        with pytest.raises(NoSuchProject):
            await it.page()


async def test_a_restart_finds_the_pages(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        first = await it.page()
    async with site.open() as it:
        assert await it.page() == first
        assert await it.mirror.projects() == {DEMO}
        assert it.outcomes == [HIT]
    assert site.upstream.count() == 1


async def test_the_refresh_of_another_process_is_taken_over(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        assert await it.names() == [ONE]
        site.clock.advance(601)
        site.add("2.0")
        async with site.open() as other:
            assert await other.names() == [ONE, TWO]
        assert await it.names() == [ONE, TWO]
        site.clock.advance(601)
        async with site.open() as other:
            await other.page()
            assert other.outcomes == [REVALIDATED]
        assert (await it.page()).fresh_until == site.clock() + 600
        assert (it.heard.changes(), it.heard.revalidated()) == ([DEMO] * 2, [DEMO])
        assert it.outcomes == [MISS, HIT, HIT]
    assert site.upstream.count(PAGE) == 3


async def test_upstreams_own_list_of_projects_is_not_asked_for(site: MirrorSite) -> None:
    site.add()
    async with site.open() as it:
        assert await it.mirror.projects() == set()
    assert site.upstream.count() == 0
