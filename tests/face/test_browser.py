"""The pages in a real browser: both themes, three widths, with and without script."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from playwright.async_api import Browser

from proxy.face.answering import BUSY_PAGE
from tests.support.browser import MAPPED, Watched, opened
from tests.support.face_world import FaceWorld, face_world
from tests.support.faults import Fault
from tests.support.running import running
from tests.support.waiting import until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(
        not os.environ.get("CI") and shutil.which("chromium-headless-shell") is None,
        reason="there is no browser: apt-get install chromium-headless-shell",
    ),
]

WIDTHS = (320, 768, 1280)
MAX_PAGE = 60_000
"""Bytes of HTML."""
PAGES = (
    *("/", "/search/?q=acme", "/search/?q=nothing-like-it", "/project/acme-tool/"),
    *("/project/acme-tool/1.1/?tool=requirement", "/project/demo/", "/project/banned/"),
    *("/project/evil-name/", "/project/acme-tool/dependencies/?open=demo", "/-/why/demo/2.0"),
    *("/-/activity", "/-/activity?range=30d", "/-/setup?tool=docker", "/-/help"),
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_every_page_is_accessible_and_fits_every_width(
    browser: Browser, world: FaceWorld, theme: str
) -> None:
    async with opened(browser, color_scheme=theme) as tab:
        for path in PAGES:
            answer = await tab.page.goto(world.server.address + path)
            assert answer and len(await answer.body()) < MAX_PAGE
            for width in WIDTHS:
                await tab.page.set_viewport_size({"width": width, "height": 800})
                assert (path, width, await tab.faults()) == (path, width, [])
                assert (path, width, await tab.overflow()) == (path, width, 0)
            await tab.check(world.server.address)


async def test_pages_are_whole_without_script(browser: Browser, world: FaceWorld) -> None:
    """Search, tabs, versions, and the form of colours."""
    async with opened(browser, java_script_enabled=False) as tab:
        page = tab.page
        await page.goto(world.server.address + "/")
        await page.fill("input[name=q]", "acme")
        await page.press("input[name=q]", "Enter")
        await page.click("#results a:text('acme-tool')")
        await page.click(".tabs a:text('uv')")
        command = await page.inner_text(".command pre")
        assert command == f"uv pip install --index-url {world.server.index} acme-tool"
        await page.click("button[name=theme][value=dark]")
        assert page.url.endswith("/project/acme-tool/?tool=uv")
        assert await page.get_attribute("html", "class") == "dark"
        await page.click("a:text-is('1.1')")
        assert "Yanked" in await page.inner_text("main")
        assert await page.locator("button:visible").count() == 3  # the colours: no dead button


async def test_typing_shows_hits_and_keeps_the_focus(browser: Browser, world: FaceWorld) -> None:
    async with opened(browser) as tab:
        page = tab.page
        await page.goto(world.server.address + "/search/")
        await page.keyboard.press("/")
        await page.keyboard.type("acme-to", delay=20)
        await page.wait_for_selector("#results h2 >> text=acme-tool")
        await page.wait_for_url("**q=acme-to*")
        assert await page.evaluate("document.activeElement.name") == "q"
        await page.keyboard.type("x/y")  # a slash in the field is a letter
        assert await page.input_value("input[name=q]") == "acme-tox/y"
        assert await page.locator("#results").count() == 1
        await tab.check(world.server.address)


async def test_a_server_that_is_busy_says_so_and_the_next_key_recovers(
    browser: Browser, world: FaceWorld
) -> None:
    async with opened(browser) as tab:
        page = tab.page
        await page.goto(world.server.address + "/search/")
        await page.route(
            "**/search/?q=acme&*",
            lambda route: route.fulfill(status=503, body=BUSY_PAGE, content_type="text/html"),
        )
        await page.focus("input[name=q]")
        await page.keyboard.type("acme")
        await page.wait_for_selector("#results >> text=try again in a moment")
        assert await page.evaluate("document.activeElement.name") == "q"
        await page.keyboard.type("-tool")
        await page.wait_for_selector("#results h2 >> text=acme-tool")
        await tab.check(world.server.address)


async def test_a_command_can_be_copied_on_a_machine_without_tls(
    browser: Browser, world: FaceWorld
) -> None:
    """There a browser has no clipboard for pages."""
    async with opened(browser) as tab:
        page = tab.page
        origin = f"http://{MAPPED}:{world.server.port}"
        await page.goto(f"{origin}/project/demo/1.0/")
        await page.click(".command button")
        await page.wait_for_selector(".command button >> text=Copied")
        assert await page.inner_text("#status") == "Copied"
        await page.goto(f"{origin}/search/")
        await page.focus("input[name=q]")
        await page.keyboard.press("Control+V")
        trusted = f"pip install --index-url {origin}/simple/ --trusted-host {MAPPED} demo==1.0"
        assert (await page.input_value("input[name=q]")) == trusted[:100]
        await tab.check(origin)


async def test_a_person_finds_why_a_version_is_missing(browser: Browser, world: FaceWorld) -> None:
    async with opened(browser) as tab:
        page = tab.page
        await page.goto(world.server.address + "/project/demo/")
        assert "2 hidden" not in await page.inner_text("h1")
        await page.click("aside a:text('Why?')")
        words = await page.inner_text("main")
        assert "week" in words and "demo-2.0-py3-none-any.whl" in words
        assert "[[exempt]]" in await page.inner_text(".command pre")
        await tab.check(world.server.address)


async def test_a_script_that_cannot_be_loaded_leaves_whole_pages(
    browser: Browser, world: FaceWorld
) -> None:
    async with opened(browser) as tab:
        await tab.page.route("**/*htmx*", lambda route: route.abort())
        await tab.page.goto(world.server.address + "/search/")
        await tab.page.fill("input[name=q]", "acme-base")
        await tab.page.press("input[name=q]", "Enter")
        await tab.page.wait_for_selector("#results a:text('acme-base')")


async def test_the_figures_are_fetched_again_while_the_page_is_seen(
    browser: Browser, world: FaceWorld
) -> None:
    async with opened(browser) as tab:
        await tab.page.clock.install()
        await tab.page.goto(world.server.address + "/-/activity")
        before = len(tab.addresses)
        async with tab.page.expect_response("**/-/activity?range=1h"):
            await tab.page.clock.run_for(11_000)
        assert len(tab.addresses) == before + 1
        await tab.check(world.server.address)


async def test_a_page_that_is_not_seen_fetches_nothing(browser: Browser, world: FaceWorld) -> None:
    """For an hour, by the clock of the page."""
    async with opened(browser) as tab:
        await tab.page.add_init_script(
            "Object.defineProperty(document, 'visibilityState', {get: () => 'hidden'});"
        )
        await tab.page.clock.install()
        await tab.page.goto(world.server.address + "/-/activity")
        before = len(tab.addresses)
        await tab.page.clock.run_for(3_600_000)
        await tab.page.evaluate("fetch('/-/help')")  # what the clock let start is before this
        assert [each.rpartition("/")[2] for each in tab.addresses[before:]] == ["help"]


async def test_an_upstream_that_fails_is_said_and_the_page_stays(
    browser: Browser, world: FaceWorld
) -> None:
    world.upstream.fault("/simple/demo-new", Fault(status=503))
    async with opened(browser, viewport={"width": 320, "height": 800}) as tab:
        response = await tab.page.goto(world.server.address + "/project/demo-new/")
        assert response and response.status == 502
        assert "The upstream does not answer" in await tab.page.inner_text("h1")
        assert response.headers["retry-after"]
        assert await tab.faults() == []
        await _home_says_so(tab, world)
    world.upstream.heal()


async def test_a_stored_page_stays_while_the_upstream_fails(
    browser: Browser, tmp_path: Path
) -> None:
    async with (
        face_world(tmp_path, "page_ttl = 0.0\n") as world,
        opened(browser, viewport={"width": 320, "height": 800}, color_scheme="dark") as tab,
    ):
        address = world.server.address + "/project/demo/"
        await tab.page.goto(address)
        world.upstream.fault("/simple/demo/", Fault(status=503))

        async def is_said() -> bool:
            response = await tab.page.goto(address)
            assert response and response.status == 200
            return "This page shows what was known" in await tab.page.inner_text("main")

        await until(is_said)
        assert await tab.faults() == []
        assert await tab.overflow() == 0


async def test_offline_only_held_files_are_links(
    browser: Browser, world: FaceWorld, tmp_path: Path
) -> None:
    await world.get("/project/demo/")
    cache, config = world.folder / "cache", world.folder / "waystation.toml"
    options = ("--config", config, "--cache-dir", cache)
    async with (
        running(tmp_path, *options, WAYSTATION_OFFLINE="true") as server,
        opened(browser, color_scheme="dark") as tab,
    ):
        await tab.page.goto(server.address + "/project/demo/")
        assert "Offline" in await tab.page.inner_text("main")
        assert await tab.page.locator("table.files a[href*='demo-1.1']").count() == 0
        await tab.page.goto(server.address + "/project/acme-tool/")
        assert await tab.page.locator("table.files a[href*='acme_tool']").count() == 1
        assert await tab.faults() == []


async def _home_says_so(tab: Watched, world: FaceWorld) -> None:
    await tab.page.goto(world.server.address + "/")
    assert "an upstream failed" in await tab.page.inner_text("main")
    assert await tab.faults() == []
