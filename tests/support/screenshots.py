"""Pictures of pages for the documentation: ``python -m tests.support.screenshots FOLDER``.

A made-up company's server with a made-up day behind it; nothing is fetched from anywhere.
"""

from __future__ import annotations

import asyncio
import math
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import aiohttp
from playwright.async_api import Browser

from proxy.cli.pages_for_people import server_name
from proxy.config import Settings
from proxy.face import RANGES, CountedInterval, History
from proxy.runtime import SharedCounters
from proxy.storage import DiskRecords
from proxy.web import COUNTER_COLUMNS, Counters, Figures
from tests.support.browser import browsing, opened
from tests.support.exports import described
from tests.support.face_world import BROWSER, days_ago
from tests.support.running import Running, running
from tests.support.upstream import Upstream
from tests.support.waiting import until

PICTURES = {
    "home": ("/", "light"),
    "project": ("/project/acme-report/", "light"),
    "project-dark": ("/project/flask/", "dark"),
    "search": ("/search/?q=acme", "light"),
    "why": ("/-/why/flask/3.2.0", "light"),
    "activity": ("/-/activity?range=24h", "light"),
}
README = """# acme-report

Turns the ledgers of ACME into reports that auditors like.

## Usage

```python
from acme_report import Report

report = Report.from_ledger("2026-11.csv", currency="EUR")
report.write("november.pdf", draft=False)
```

| format | pages | signed |
|---|---|---|
| PDF | yes | yes |
| HTML | yes | no |

Ask **#reports** for help.
"""


def _fill(packages: Path, upstream: Upstream, made: Path) -> None:
    for version in ("2.3.0", "2.4.0", "2.4.1"):
        described(
            *(packages, "acme-report", version, README, "text/markdown"),
            Summary="Reports for auditors, from the ledgers of ACME",
            Author="Team Ledger",
            License="Proprietary",
            Requires_Python=">=3.11",
            Requires_Dist="flask>=3",
            Project_URL="Source, https://git.example.com/ledger/acme-report",
        )
    for name, summary in (
        ("acme-auth", "Single sign-on for everything inside of ACME"),
        ("acme-queue", "Jobs that survive a restart"),
        ("acme-testing", "Fixtures for projects of ACME"),
    ):
        described(packages, name, "1.9.2", "", Summary=summary, Requires_Dist="acme-report")
    for name, needs in (
        ("flask", ["werkzeug>=3", "jinja2>=3.1", "click>=8", 'asgiref; extra == "async"']),
        *(("werkzeug", ["markupsafe"]), ("jinja2", ["markupsafe"]), ("click", [])),
        ("markupsafe", []),
    ):
        for version, age in (("3.0.3", 90.0), ("3.1.0", 30.0), ("3.2.0", 1.5)):
            wheel = _public(made, name, version, needs)
            upstream.add(wheel, uploaded=days_ago(age), requires_python=">=3.10")


def _public(made: Path, name: str, version: str, needs: list[str]) -> Path:
    text = f"# {name}\n\nWhat the web is made of, in small pieces.\n\n## Example\n\n"
    code = f"```python\nfrom {name} import App\n\napp = App(__name__)\n```\n"
    return described(
        *(made, name, version, text + code, "text/markdown"),
        Summary="What the web is made of, in small pieces",
        License="BSD-3-Clause",
        Author="The authors",
        Requires_Dist="\nRequires-Dist: ".join(needs or ['typing-extensions; extra == "types"']),
    )


async def _past(cache: Path) -> None:
    """A day: mornings are busy, and upstream had a bad hour."""
    records = DiskRecords(cache / "records")
    counters = Counters(SharedCounters([memoryview(bytearray(8 * COUNTER_COLUMNS)).cast("Q")]))
    name = server_name(Settings(port=0))
    past = History(counters, records, name, samples=True, shared=False)
    now, day = time.time(), RANGES[1]
    for at in range(day.length):
        wave = 40 + 35 * math.sin(at / 22) + 12 * math.sin(at / 3) + (at * 37 % 17)
        bad = 180 < at < 196
        figures = Figures(
            here=wave * 60,
            fetched=wave * (14 if bad else 5),
            refused=at % 9,
            failed=12.0 if bad else 0.0,
            sent=wave * 9e6,
            saved=wave * 8.6e6,
            upstream_ok=wave * 5,
            upstream_failed=40.0 if bad else 0.0,
            prefetched=wave * 3,
            used=wave * 2.6,
            wasted=wave * 0.3,
            timed=wave * 65,
            seconds=wave * 0.3,
            slow=8.0 if bad else 0.0,
        )
        past.add(CountedInterval(figures, day.width), now - (day.length - at) * day.width)
    await past.close()
    await records.close()


async def _use(server: Running) -> None:
    """As installers and people do."""
    async with aiohttp.ClientSession(headers=BROWSER) as client:
        for name in ("flask", "werkzeug", "jinja2", "click", "acme-report", "acme-auth"):
            async with client.get(f"{server.index}{name}/") as page:
                links = [line.split('"')[1] for line in (await page.text()).split("<a ")[1:]]
            for link in links[:2]:
                async with client.get(f"{server.index}{name}/{link}") as file:
                    await file.read()
        for path in ("/", "/search/?q=a"):  # the size of the cache is counted for the next page
            async with client.get(server.address + path) as page:
                await page.read()

        async def is_found() -> bool:
            """The file of search is brought up to date in the background."""
            async with client.get(f"{server.address}/search/?q=acme") as page:
                return "acme-report" in await page.text()

        await until(is_found)


async def _picture(browser: Browser, server: Running, name: str, folder: Path) -> None:
    path, theme = PICTURES[name]
    size = {"width": 1100, "height": 760}
    async with opened(browser, color_scheme=theme, viewport=size) as tab:
        await tab.page.goto(server.address + path)
        await tab.page.screenshot(path=folder / f"{name}.png")


async def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as temporary:
        work = Path(temporary)
        packages = work / "packages"
        packages.mkdir()
        async with Upstream() as upstream, browsing() as browser:
            _fill(packages, upstream, work / "made")
            await _past(work / "cache")
            options = ("--packages", packages, "--upstream", upstream.url)
            public = {
                "WAYSTATION_PUBLIC_URL": "https://packages.example.com/",
                "WAYSTATION_COOLDOWN": "7d",
            }
            async with running(work, *options, **public) as server:
                await _use(server)
                for name in PICTURES:
                    await _picture(browser, server, name, folder)


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
