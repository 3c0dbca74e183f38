"""Publishing with a browser: the same checks as for tools, and no form of a stranger."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import aiohttp
import pytest

from tests.support.browser import browsing, executable, opened
from tests.support.distributions import make_sdist, make_wheel
from tests.support.face_world import BROWSER
from tests.support.running import Running, running


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    (tmp_path / "packages").mkdir()
    options = ("--packages", tmp_path / "packages")
    variables = {"WAYSTATION_UPLOADS": "true", "WAYSTATION_OFFLINE": "true"}
    async with running(tmp_path, *options, **variables) as started:
        yield started


async def post(
    server: Running, content: bytes, name: str, host: str = "", **headers: str
) -> tuple[int, str]:
    return await post_all(server, [(content, name)], host, **headers)


async def post_all(
    server: Running, files: Iterable[tuple[bytes, str]], host: str = "", **headers: str
) -> tuple[int, str]:
    form = aiohttp.FormData()
    for content, name in files:
        form.add_field("content", content, filename=name)
    given = BROWSER | {"Origin": server.address} | headers
    given |= {"Host": host} if host else {}
    async with (
        aiohttp.ClientSession() as client,
        client.post(f"{server.address}/-/upload", data=form, headers=given) as answer,
    ):
        return answer.status, await answer.text()


async def test_a_wheel_and_an_sdist_are_published(tmp_path: Path, server: Running) -> None:
    for path in (
        make_wheel(tmp_path / "made", "acme-tool", "1.0"),
        make_sdist(tmp_path / "made", "acme-tool", "1.0"),
    ):
        status, text = await post(server, path.read_bytes(), path.name)
        assert status == 200 and "is published" in text
        async with (
            aiohttp.ClientSession() as client,
            client.get(f"{server.index}acme-tool/") as page,
        ):
            assert path.name in await page.text()
        assert list((tmp_path / "packages").rglob(path.name))


async def test_several_files_have_a_result_each(tmp_path: Path, server: Running) -> None:
    wheel = make_wheel(tmp_path / "made", "acme-tool", "1.0")
    sdist = make_sdist(tmp_path / "made", "acme-tool", "1.0")
    broken = (b"no archive" * 100_000, "acme_tool-2.0-py3-none-any.whl")
    files = [(wheel.read_bytes(), wheel.name), broken, (sdist.read_bytes(), sdist.name)]
    status, text = await post_all(server, files)
    assert status == 400
    assert text.count("is published") == 2 and text.count("was not published") == 1
    found = sorted(path.name for path in (tmp_path / "packages").rglob("acme*"))
    assert found == sorted(["acme-tool", wheel.name, sdist.name])
    status, text = await post_all(server, [])
    assert status == 400 and "Nothing was published: " in text
    status, text = await post_all(server, [(b"x", "x.whl")] * 60)
    assert status == 400 and "more than 50 files" in text


async def test_what_tools_may_not_publish_a_browser_may_not_either(
    tmp_path: Path, server: Running
) -> None:
    wheel = make_wheel(tmp_path / "made", "acme-tool", "1.0")
    other = make_wheel(tmp_path / "other", "acme-tool", "1.0", padding=10)
    await post(server, wheel.read_bytes(), wheel.name)
    for content, name in (
        (other.read_bytes(), other.name),  # other bytes under a name that is taken
        (wheel.read_bytes(), "other-1.0-py3-none-any.whl"),  # another project inside
        (b"no archive", "acme_tool-2.0-py3-none-any.whl"),
        (b"<script>", "page.html"),
        (wheel.read_bytes(), "../../acme_tool-3.0-py3-none-any.whl"),
        (wheel.read_bytes(), "<b>-1.0-py3-none-any.whl"),
    ):
        status, text = await post(server, content, name)
        assert 400 <= status < 500, name
        assert "was not published" in text or status == 403
        assert "<b>" not in text
    files = sorted(path.name for path in (tmp_path / "packages").rglob("*.whl"))
    assert files == [wheel.name]


async def test_a_form_of_a_stranger_publishes_nothing(tmp_path: Path, server: Running) -> None:
    """Also if the name of the stranger's server leads to this machine (DNS rebinding)."""
    wheel = make_wheel(tmp_path / "made", "acme-tool", "1.0")
    evil = f"evil.example.com:{server.port}"
    for host, origin in (
        ("", "http://evil.example.com"),
        ("", ""),
        ("", "null"),
        (evil, f"http://{evil}"),
    ):
        status, _ = await post(server, wheel.read_bytes(), wheel.name, host, Origin=origin)
        assert status == 403
    assert not list((tmp_path / "packages").rglob("*.whl"))


async def test_without_uploads_there_is_no_page(tmp_path: Path) -> None:
    async with (
        running(tmp_path, WAYSTATION_OFFLINE="true") as server,
        aiohttp.ClientSession() as client,
    ):
        async with client.get(f"{server.address}/-/upload") as answer:
            assert answer.status == 404
        async with client.get(server.address) as answer:
            assert "-/upload" not in await answer.text()


async def test_a_person_publishes_in_a_browser(tmp_path: Path, server: Running) -> None:
    executable()
    wheel = make_wheel(tmp_path / "made", "acme-tool", "1.0")
    async with browsing() as browser, opened(browser, java_script_enabled=True) as tab:
        await tab.page.set_viewport_size({"width": 320, "height": 800})
        await tab.page.goto(server.address)
        await tab.page.click("nav a:text('Upload')")
        assert await tab.faults() == []
        await tab.page.set_input_files("#content", wheel)
        await tab.page.click("main button.primary")
        await tab.page.click("main a:text('acme-tool 1.0')")
        assert wheel.name in await tab.page.inner_text("main")
        await tab.check(server.address)
