"""What is answered while upstream is slow, fails, or says what is hard to believe."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import NoSuchProject, UnreadablePage, UpstreamError
from proxy.events import Outcome, UpstreamFailed
from tests.support.faults import LOGIN_PAGE
from tests.support.listings import html_page
from tests.support.mirror_site import DEMO, PAGE, MirrorSite, OpenMirror
from tests.support.upstream import Fault
from tests.support.waiting import until

HIT, REVALIDATED, STALE, MISS, JOINED, *_ = Outcome
ONE, TWO = "demo-1.0-py3-none-any.whl", "demo-2.0-py3-none-any.whl"
DOWN = Fault(status=503)
HOUR, DAY = 3600.0, 86400.0


async def warmed(site: MirrorSite, it: OpenMirror) -> None:
    """A stored page that has just expired."""
    site.add()
    assert await it.names() == [ONE]
    site.clock.advance(601)


async def test_a_slow_revalidation_goes_on_in_the_background_of_a_stale_page(
    site: MirrorSite,
) -> None:
    gate = asyncio.Event()
    async with site.open(soft_deadline=0.05) as it:
        await warmed(site, it)
        site.add("2.0")
        site.upstream.fault(PAGE, Fault(hang=gate))
        page = await it.page()
        assert [file.filename for file in page.files] == [ONE]
        assert page.fresh_until == 0.0  # clients must not keep it
        it.heard.clear()
        gate.set()
        await it.heard.until(lambda: it.heard.changes() == [DEMO])
        assert await it.names() == [ONE, TWO]
        assert it.outcomes == [HIT]
    assert site.upstream.count(PAGE) == 2


async def test_only_the_first_waits_for_a_slow_upstream(site: MirrorSite) -> None:
    gate = asyncio.Event()
    async with site.open(soft_deadline=0.5) as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, Fault(hang=gate))
        await it.page()
        async with asyncio.timeout(0.5 * 10):
            for _ in range(50):
                await it.page()
        assert it.outcomes[1:] == [STALE] * 51
        gate.set()
    assert site.upstream.count(PAGE) == 2


async def test_an_upstream_that_is_no_longer_slow_is_asked_again(site: MirrorSite) -> None:
    gate = asyncio.Event()
    async with site.open(page_ttl=0, soft_deadline=0.05) as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, Fault(hang=gate), times=1)
        await it.page()
        it.heard.clear()
        gate.set()
        await it.heard.until(lambda: it.heard.revalidated() == [DEMO])
        await it.page()
        assert it.outcomes == [REVALIDATED]


async def test_a_page_without_a_stale_copy_is_waited_for(site: MirrorSite) -> None:
    site.add()
    site.upstream.fault(PAGE, Fault(delay=0.2))
    async with site.open(soft_deadline=0.01) as it:
        assert await it.names() == [ONE]
        assert it.outcomes == [MISS]


@pytest.mark.parametrize("fault", [DOWN, Fault(reset=True), Fault(status=403), Fault(hang=True)])
async def test_a_stale_page_is_served_while_upstream_fails(site: MirrorSite, fault: Fault) -> None:
    async with site.open(page_timeout=0.2) as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, fault)
        page = await it.page()
        assert [file.filename for file in page.files] == [ONE]
        assert page.fresh_until == 0.0
        assert it.outcomes == [MISS, STALE]
        failures = [event for event in it.heard if isinstance(event, UpstreamFailed)]
        assert [(each.index, each.what) for each in failures] == [("pypi", "demo")]


async def test_a_failing_upstream_is_left_alone_for_a_while(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, DOWN)
        for _ in range(10):
            await it.page()
        assert site.upstream.count(PAGE) == 2
        site.clock.advance(6)
        site.upstream.heal()
        assert await it.names() == [ONE]
        assert it.outcomes == [MISS, *[STALE] * 10, REVALIDATED]


async def test_a_stale_page_is_served_only_up_to_its_age_limit(site: MirrorSite) -> None:
    async with site.open(stale_if_error=DAY) as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, DOWN)
        site.clock.advance(DAY - 10)
        assert await it.names() == [ONE]
        site.clock.advance(20)
        with pytest.raises(UpstreamError):
            await it.page()
        site.upstream.heal()
        assert await it.names() == [ONE]


@pytest.mark.parametrize("control", ["max-age=60, must-revalidate", "s-maxage=60", "no-cache"])
async def test_what_must_be_revalidated_is_never_stale(site: MirrorSite, control: str) -> None:
    site.upstream.cache_control = control
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, DOWN)
        with pytest.raises(UpstreamError):
            await it.page()
        site.upstream.heal()
        assert await it.names() == [ONE]
        assert it.outcomes == [MISS, REVALIDATED]


async def test_a_page_that_must_not_be_stored_is_not_served_stale(site: MirrorSite) -> None:
    site.upstream.cache_control = "no-store"
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, DOWN)
        with pytest.raises(UpstreamError):
            await it.page()


async def test_stale_while_revalidate_answers_at_once(site: MirrorSite) -> None:
    gate = asyncio.Event()
    async with site.open(stale_while_revalidate=30) as it:
        await warmed(site, it)
        site.add("2.0")
        site.upstream.fault(PAGE, Fault(hang=gate))
        async with asyncio.timeout(2):
            assert await it.names() == [ONE]
        it.heard.clear()
        gate.set()
        await it.heard.until(lambda: it.heard.changes() == [DEMO])
        assert await it.names() == [ONE, TWO]
    assert site.upstream.count(PAGE) == 2


async def test_after_a_restart_too(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
    site.upstream.fault(PAGE, DOWN)
    async with site.open() as it:
        assert await it.names() == [ONE]
        assert it.outcomes == [STALE]


async def test_a_request_that_joins_a_revalidation_gets_the_stale_page_too(
    site: MirrorSite,
) -> None:
    async with site.open() as it:
        await warmed(site, it)
    gate = asyncio.Event()
    site.upstream.fault(PAGE, Fault(hang=gate, status=503))
    async with site.open() as it:
        it.mirror._pages.recheck(DEMO)  # before anything was read from the store
        waiting = asyncio.create_task(it.names())
        await until(lambda: it.mirror._memory.get(DEMO) is not None)
        await until(lambda: site.upstream.count(PAGE) == 2)
        gate.set()
        assert await waiting == [ONE]


async def test_an_older_serial_is_not_believed_at_once(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.add("2.0")
        site.upstream.serials[DEMO] = 900
        for _ in range(60):
            assert await it.names() == [ONE]
            assert (await it.page()).fresh_until == 0.0
            site.clock.advance(61)
        assert await it.names() == [ONE, TWO]


async def test_a_stale_page_is_not_served_past_its_limit_after_a_restart(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
    site.add("2.0")
    site.upstream.serials[DEMO] = 900
    async with site.open() as it:
        assert await it.names() == [ONE]
    site.clock.advance(HOUR + 1)
    async with site.open() as it:
        assert await it.names() == [ONE, TWO]


async def test_a_serial_that_was_confirmed_is_checked_again_later(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        for _ in range(2):
            site.add("2.0")
            site.upstream.serials[DEMO] = 900
            assert await it.names() == [ONE]
            site.clock.advance(HOUR - 1)
            site.upstream.remove(TWO)
            site.upstream.serials[DEMO] = 1001
            assert await it.names() == [ONE]
            site.clock.advance(601)
        assert it.outcomes == [MISS, STALE, REVALIDATED, STALE, REVALIDATED]


async def test_an_upstream_that_stops_sending_serials_is_believed(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.add("2.0")
        site.upstream.serials[DEMO] = None
        assert await it.names() == [ONE, TWO]


async def test_one_answer_gone_is_doubted_and_a_second_believed(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, Fault(status=404))
        assert await it.names() == [ONE]
        site.clock.advance(59)
        page = await it.page()
        assert page.fresh_until == 0.0
        assert site.upstream.count(PAGE) == 2
        site.clock.advance(2)
        with pytest.raises(NoSuchProject):
            await it.page()
        assert it.outcomes == [MISS, STALE, HIT]
    async with site.open() as it:
        assert await it.mirror.projects() == set()
        left = [key for key in await it.cache.records.keys() if "demo" in key]
        assert [key.partition("/")[0] for key in left] == ["seen"]


async def test_a_project_that_was_gone_by_mistake_stays(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.fault(PAGE, Fault(status=404), times=1)
        assert await it.names() == [ONE]
        site.clock.advance(61)
        page = await it.page()
        assert page.fresh_until == site.clock() + 600
        site.clock.advance(601)
        site.upstream.fault(PAGE, Fault(status=404), times=1)
        assert await it.names() == [ONE]  # the first doubt is forgotten
        assert it.outcomes == [MISS, STALE, REVALIDATED, STALE]


async def test_an_older_page_before_does_not_make_the_first_answer_gone_the_second(
    site: MirrorSite,
) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.add("2.0")
        site.upstream.serials[DEMO] = 900
        assert await it.names() == [ONE]
        site.clock.advance(61)
        site.upstream.fault(PAGE, Fault(status=404))
        assert await it.names() == [ONE]
        site.clock.advance(61)
        with pytest.raises(NoSuchProject):
            await it.page()


async def test_a_page_past_its_stale_limit_is_deleted_with_the_first_404(site: MirrorSite) -> None:
    async with site.open(stale_if_error=DAY) as it:
        await warmed(site, it)
        site.clock.advance(DAY)
        site.upstream.fault(PAGE, Fault(status=404))
        with pytest.raises(NoSuchProject):
            await it.page()


PORTALS = [
    (LOGIN_PAGE, "text/html"),
    (html_page(DEMO, []), "text/html"),
    (b"<html><title>Links for demo</title></html>", "text/html; charset=utf-8"),
    (b"", "text/html"),
    (b'{"error": "login"}', "application/vnd.pypi.simple.v1+json"),
]


@pytest.mark.parametrize("portal", PORTALS)
async def test_a_page_that_loses_its_links_is_trouble_and_no_news(
    site: MirrorSite, portal: tuple[bytes, str]
) -> None:
    site.upstream.form = "html"
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.pages[DEMO] = portal
        assert await it.names() == [ONE]
        assert it.outcomes == [MISS, STALE]
    async with site.open() as it:
        assert await it.names() == [ONE]


@pytest.mark.parametrize("portal", [PORTALS[0], PORTALS[4]])
async def test_a_portal_page_without_a_stale_copy_is_an_error(
    site: MirrorSite, portal: tuple[bytes, str]
) -> None:
    site.upstream.pages[DEMO] = portal
    async with site.open() as it:
        with pytest.raises(UnreadablePage):
            await it.page()


async def test_an_empty_page_is_believed_once_the_former_is_too_old(site: MirrorSite) -> None:
    site.upstream.form = "html"
    async with site.open(stale_if_error=DAY) as it:
        await warmed(site, it)
        site.upstream.pages[DEMO] = (html_page(DEMO, []), "text/html")
        site.clock.advance(DAY)
        assert await it.names() == []


async def test_json_may_say_that_there_are_no_files_any_more(site: MirrorSite) -> None:
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.remove(ONE)
        site.upstream.page_keys[DEMO] = {"versions": []}
        assert await it.names() == []


QUARANTINED = (
    b'<html><head><meta name="pypi:project-status" content="quarantined">'
    b"<title>Links for demo</title></head><body></body></html>"
)


async def test_a_quarantined_page_of_html_has_no_links_and_is_news(site: MirrorSite) -> None:
    site.upstream.form = "html"
    async with site.open() as it:
        await warmed(site, it)
        site.upstream.pages[DEMO] = (QUARANTINED, "text/html")
        page = await it.page()
        assert page.files == ()
        assert page.status and page.status.status == "quarantined"
