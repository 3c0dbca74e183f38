"""Administration with a browser: for those with the right, and by forms of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.browser import browsing, executable, opened
from tests.support.face_world import BROWSER, FaceWorld, face_world

SETTINGS = """
[access.rights]
alice = ["admin", "read:main", "metrics"]
bob = ["read:main"]
[access.proxy]
from = ["127.0.0.1"]
user_header = "X-User"
"""


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[FaceWorld]:
    async with face_world(tmp_path, after=SETTINGS) as running:
        yield running


async def post(world: FaceWorld, user: str = "alice", **fields: str) -> tuple[int, str]:
    origin = fields.pop("origin", world.server.address)
    headers = BROWSER | {"X-User": user, "Origin": origin}
    address = f"{world.server.address}/-/admin"
    async with world.client.post(address, data=fields, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_a_page_is_refreshed_and_purged_after_a_question(world: FaceWorld) -> None:
    status, text = await post(world, action="refresh", project="Demo")
    assert status == 200 and "The page of demo was asked for" in text
    asked = world.upstream.count("/simple/demo/")
    assert asked >= 1
    status, text = await post(world, action="pin", project="demo")
    assert status == 200 and "the cache has no file of it" in text
    status, text = await post(world, action="purge", project="demo")
    assert status == 200 and "Drop demo from the cache?" in text
    status, text = await post(world, action="purge", project="demo", sure="yes")
    assert status == 200 and "demo is dropped" in text
    status, text = await post(world, action="purge", project="demo", sure="yes")
    assert 'role="alert"' in text
    status, text = await post(world, action="refresh", project="<b>")
    assert "give the name of a project" in text and "<b>" not in text


async def test_others_and_strangers_change_nothing(world: FaceWorld) -> None:
    assert (await world.get("/-/admin", **{"X-User": "bob"}))[0] == 403
    assert (await world.get("/-/admin"))[0] == 401
    assert "-/admin" not in (await world.get("/", **{"X-User": "bob"}))[1]
    assert (await post(world, "bob", action="refresh", project="demo"))[0] == 403
    stranger = "http://evil.example.com"
    assert (await post(world, action="refresh", project="demo", origin=stranger))[0] == 403
    assert world.upstream.count("/simple/demo/") == 0


async def test_a_server_in_front_that_adds_tls_may_have_the_public_address(
    tmp_path: Path,
) -> None:
    public = "https://packages.example.com"
    async with face_world(tmp_path, f'public_url = "{public}"\n', after=SETTINGS) as world:
        status, text = await post(world, action="refresh", project="demo", origin=public)
        assert status == 200 and "The page of demo was asked for" in text
        for stranger in ("https://example.com", f"{public}.example.org", "null", "https://"):
            status, _ = await post(world, action="refresh", project="demo", origin=stranger)
            assert status == 403


async def test_an_administrator_sees_settings_in_a_browser(world: FaceWorld) -> None:
    executable()
    alice = {"X-User": "alice"}
    async with browsing() as browser, opened(browser, extra_http_headers=alice) as tab:
        for width in (320, 1280):
            await tab.page.set_viewport_size({"width": width, "height": 800})
            await tab.page.goto(world.server.address + "/-/admin")
            assert await tab.faults() == [] and await tab.overflow() == 0
        await tab.page.click("summary:has-text('with the default')")
        words = await tab.page.inner_text("main")
        assert "Settings in force" in words and "page_ttl" in words and "never evicted" in words
        await tab.check(world.server.address)
