"""Pages for which a person needs a right, in a real browser: both themes, three widths."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser

from tests.support.browser import Watched, opened
from tests.support.distributions import make_wheel
from tests.support.face_world import FaceWorld, face_world
from tests.support.waiting import until

pytestmark = pytest.mark.asyncio(loop_scope="module")

WIDTHS = (320, 768, 1280)
PAGES = ("/-/tokens", "/-/audit", "/-/audit?project=demo", "/-/upload", "/-/admin")
RIGHTS = """
[audit]
[access.rights]
alice = ["read:main", "upload:main", "audit", "metrics", "admin"]
bob = ["metrics"]
[access.proxy]
from = ["127.0.0.1"]
user_header = "X-User"
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def company(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[FaceWorld]:
    folder = tmp_path_factory.mktemp("company")
    async with face_world(folder, after=RIGHTS, own="uploads = true") as running:
        yield running


async def is_fine(tab: Watched) -> None:
    """At every width, what is shown now is accessible and fits."""
    for width in WIDTHS:
        await tab.page.set_viewport_size({"width": width, "height": 800})
        assert (tab.page.url, width, await tab.faults()) == (tab.page.url, width, [])
        assert (tab.page.url, width, await tab.overflow()) == (tab.page.url, width, 0)


def alice(theme: str = "light") -> dict[str, object]:
    return {"extra_http_headers": {"X-User": "alice"}, "color_scheme": theme}


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_and_answers_of_forms_are_accessible(
    browser: Browser, company: FaceWorld, theme: str, tmp_path: Path
) -> None:
    async with opened(browser, **alice(theme)) as tab:
        for path in PAGES:
            await tab.page.goto(company.server.address + path)
            await is_fine(tab)
        await tab.page.goto(company.server.address + "/-/admin")
        await tab.page.fill("#project", "demo")
        await tab.page.click("button[value=purge]")
        await is_fine(tab)  # the question
        await tab.page.goto(company.server.address + "/-/upload")
        broken = tmp_path / "acme_tool-9.0-py3-none-any.whl"
        broken.write_bytes(b"no archive")
        await tab.page.set_input_files("#content", broken)
        await tab.page.click("main button.primary")
        await is_fine(tab)  # the refusal
        await tab.check(company.server.address)


@pytest.mark.slow
async def test_who_may_not_read_gets_a_page_with_style_that_says_so(
    browser: Browser, company: FaceWorld
) -> None:
    bob = {"X-User": "bob"}
    async with opened(browser, extra_http_headers=bob, color_scheme="dark") as tab:
        answer = await tab.page.goto(company.server.address + "/search/")
        assert answer and answer.status == 403
        words = await tab.page.inner_text("main")
        assert "No right to read index main" in words and "You are bob" in words
        assert await tab.page.inner_text("nav") == "Search\nSet up\nTokens\nActivity\nHelp"
        await is_fine(tab)
        await tab.check(company.server.address)


@pytest.mark.slow
@pytest.mark.parametrize("script", [True, False])
async def test_a_person_makes_a_token_that_is_shown_once(
    browser: Browser, company: FaceWorld, script: bool
) -> None:
    async with opened(browser, **alice(), java_script_enabled=script) as tab:
        await tab.page.goto(company.server.address + "/")
        await tab.page.click("nav a:text('Tokens')")
        await tab.page.fill("#name", name := f"ci-{script}")
        await tab.page.check("input[value='read:main']")
        await tab.page.click("button:text('Make it')")
        token = await tab.page.inner_text("[data-copyable='the token']")
        assert len(token) > 30
        await tab.page.goto(company.server.address + "/-/tokens")
        words = await tab.page.inner_text("main")
        assert f"alice/{name}" in words and token not in words
        if script:
            stored = "[...Object.values(localStorage), ...Object.values(sessionStorage)].join()"
            assert token not in await tab.page.evaluate(stored)
            await tab.check(company.server.address)


@pytest.mark.slow
async def test_a_person_finds_who_has_a_bad_version(browser: Browser, company: FaceWorld) -> None:
    link = await _link(company, "demo-1.1-py3-none-any.whl")
    pip = {"X-User": "alice", "User-Agent": "pip/26.0"}
    async with company.client.get(company.server.address + link, headers=pip) as file:
        assert len(await file.read()) > 100
    async with opened(browser, **alice()) as tab:

        async def is_named() -> bool:
            await tab.page.goto(company.server.address + "/")
            await tab.page.click("nav a:text('Audit')")
            await tab.page.fill("#project", "demo")
            await tab.page.fill("#version", "1.1")
            await tab.page.press("#version", "Enter")
            words = await tab.page.inner_text("#results")
            return "alice" in words and "demo-1.1-py3-none-any.whl" in words and "pip" in words

        await until(is_named)  # the audit is written a moment after the answer
        await tab.check(company.server.address)


async def _link(world: FaceWorld, filename: str) -> str:
    """The path of a file, from the page for installers."""
    _, text = await world.get("/simple/demo/", **{"X-User": "alice"})
    found = re.search(rf'href="\.\./\.\.(/[^"#]*{filename})', text)
    assert found
    return found[1]


@pytest.mark.slow
async def test_a_person_publishes_and_sees_the_page_of_the_version(
    browser: Browser, company: FaceWorld, tmp_path: Path
) -> None:
    wheel = make_wheel(tmp_path, "acme-new", "1.0")
    async with opened(browser, **alice()) as tab:
        await tab.page.goto(company.server.address + "/")
        await tab.page.click("nav a:text('Upload')")
        await tab.page.set_input_files("#content", wheel)
        await tab.page.click("main button.primary")
        await tab.page.click("main a:text('acme-new 1.0')")
        assert wheel.name in await tab.page.inner_text("main")
        await tab.check(company.server.address)
