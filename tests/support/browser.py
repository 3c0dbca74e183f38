"""A real browser, Debian's ``chromium-headless-shell``, and axe in its pages."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, BrowserContext, Page, async_playwright

MAPPED = "packages.example.com"
"""A name that the browser resolves to this machine: plain HTTP, and not loopback to it."""
TAGS = ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]
_VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(event.violatedDirective + " " + event.blockedURI));
"""


def executable() -> str:
    """The browser. Skips the test where there is none; in CI that is an error."""
    names = ("chromium-headless-shell", "chromium")
    found = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    if found:
        return found
    if os.environ.get("CI"):
        pytest.fail("chromium-headless-shell is missing")
    pytest.skip("there is no browser: apt-get install chromium-headless-shell")


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    rules = f"--host-resolver-rules=MAP {MAPPED} 127.0.0.1"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=executable(), args=[rules])
        try:
            yield browser
        finally:
            await browser.close()


class Watched:
    """A page, and all that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.problems: list[str] = []
        self.addresses: list[str] = []
        page.on("console", self._console)
        page.on("pageerror", lambda error: self.problems.append(f"error {error}"))
        page.on("request", lambda request: self.addresses.append(request.url))

    def _console(self, message: Any) -> None:
        # The status of an error page is meant; Chromium reports it as a failed resource.
        if message.type in ("error", "warning") and "Failed to load resource" not in message.text:
            self.problems.append(f"{message.type} {message.text}")

    async def check(self, origin: str) -> None:
        """Nothing failed, and nothing was requested from elsewhere."""
        assert self.problems == []
        assert await self.page.evaluate("window.violations") == []
        assert await self.page.evaluate("window.pwned") is None
        assert [each for each in self.addresses if not each.startswith(origin)] == []

    async def faults(self) -> list[str]:
        """What axe finds."""
        await self.page.evaluate(_axe())
        found = await self.page.evaluate(
            "(tags) => axe.run(document, {runOnly: {type: 'tag', values: tags},"
            " resultTypes: ['violations']})",
            TAGS,
        )
        return [f"{v['id']}: {v['nodes'][0]['html'][:200]}" for v in found["violations"]]

    async def overflow(self) -> int:
        """Pixels by which the page is wider than its window."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@asynccontextmanager
async def opened(browser: Browser, **options: Any) -> AsyncIterator[Watched]:
    """A page in a context of its own; ``options`` as for ``new_context``."""
    context: BrowserContext = await browser.new_context(**options)
    try:
        await context.add_init_script(_VIOLATIONS)
        yield Watched(await context.new_page())
    finally:
        await context.close()


def _axe() -> str:
    spec = find_spec("axe_playwright_python")
    assert spec and spec.origin
    return Path(spec.origin).with_name("axe.min.js").read_text(encoding="utf-8")
