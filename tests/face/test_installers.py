"""Installers see the same bytes, with pages for people and without."""

from __future__ import annotations

from pathlib import Path

import aiohttp

from tests.support.face_world import BROWSER, face_world
from tests.support.running import running

CLIENTS = {
    "pip": {
        "Accept": "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html; q=0.1,"
        " text/html; q=0.01",
        "User-Agent": "pip/26.0",
    },
    "curl": {"Accept": "*/*", "User-Agent": "curl/8"},
    "browser": BROWSER | {"Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document"},
}
SAME = ("Content-Type", "Vary", "ETag", "Content-Security-Policy", "X-Content-Type-Options")


async def answers(address: str) -> dict[tuple[str, str], tuple[object, ...]]:
    found: dict[tuple[str, str], tuple[object, ...]] = {}
    async with aiohttp.ClientSession(auto_decompress=False) as client:
        # The list comes first: later it has projects that were prefetched meanwhile.
        for path in ("", "acme-tool/", "demo/", "evil-name/", "none/", "Acme_Tool/"):
            for name, headers in CLIENTS.items():
                async with client.get(
                    f"{address}/simple/{path}", headers=headers, allow_redirects=False
                ) as answer:
                    kept = tuple(answer.headers.get(each) for each in SAME)
                    found[name, path] = (answer.status, kept, await answer.read())
    return found


async def test_the_simple_api_is_the_same_with_and_without_pages(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()
    async with face_world(tmp_path / "one") as world:
        with_pages = await answers(world.server.address)
        assert 'name="q"' in (await world.get("/"))[1]
        status, text = await world.get("/simple/none/")
        assert status == 404 and "<html" not in text
        status, text = await world.get("/project/none/")
        assert status == 404 and "<html" in text
        config = world.folder / "waystation.toml"
        async with running(tmp_path / "other", "--config", config, WAYSTATION_WEB="false") as plain:
            assert await answers(plain.address) == with_pages
            for path, status in (("/", 200), ("/search/", 404), ("/project/acme-tool/", 404)):
                async with world.client.get(plain.address + path, headers=BROWSER) as answer:
                    assert answer.status == status
                    assert 'name="q"' not in await answer.text()
