"""The pages of a static tree in a real browser: both themes, three widths."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support.browser import browsing, executable, opened
from tests.support.distributions import make_sdist, make_wheel
from tests.support.exports import described, export_folder

README = "# Acme\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```python\nimport acme\n```\n"
PAGES = ("index.html", "project/acme-tool/index.html", "changes/index.html")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_are_accessible_and_fit_every_width(tmp_path: Path, theme: str) -> None:
    executable()
    source, root = tmp_path / "source", tmp_path / "tree"
    described(source, "acme-tool", "1.1", README, "text/markdown", Summary="x" * 300)
    make_sdist(source, "acme-tool", "1.1")
    make_wheel(source, "acme-tool", "1.0")
    (source / "acme_tool-1.0-py3-none-any.whl.yanked").write_text("wrong " * 40)
    await export_folder(source, root)
    async with browsing() as browser, opened(browser, color_scheme=theme) as tab:
        for page in PAGES:
            await tab.page.goto(f"file://{root}/{page}")
            for width in (320, 768, 1280):
                await tab.page.set_viewport_size({"width": width, "height": 800})
                assert (page, width, await tab.faults()) == (page, width, [])
                assert (page, width, await tab.overflow()) == (page, width, 0)
        await tab.check("file://")


@pytest.mark.slow
async def test_a_page_has_the_look_of_the_server(tmp_path: Path) -> None:
    """Both are drawn from the same parts: heading, facts, README, and rows of files."""
    executable()
    described(tmp_path / "source", "acme-tool", "1.1", README, "text/markdown", License="MIT")
    await export_folder(tmp_path / "source", tmp_path / "tree")
    async with browsing() as browser, opened(browser) as tab:
        await tab.page.goto(f"file://{tmp_path}/tree/{PAGES[1]}")
        assert await tab.page.inner_text("h1") == "acme-tool 1.1"
        assert "LICENCE" in (await tab.page.inner_text("aside.facts")).upper()
        row = await tab.page.inner_text("table.files tbody tr")
        assert "wheel, Python 3, any platform" in row and "acme_tool-1.1" in row
