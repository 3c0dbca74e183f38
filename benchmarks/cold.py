"""Scenario: first requests for pages and files, through us and directly, with upstream latency."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from benchmarks.agents import UV, UV_FILE
from benchmarks.aiohttp_baseline import AIOHTTP_BASELINE, aiohttp_baseline
from benchmarks.clients import Answer, Client, get
from benchmarks.measures import OURS, Row
from benchmarks.scenario import Context, Scenario
from benchmarks.servers import FakeUpstream, fake_upstream, waystation
from benchmarks.synthetic_projects import project

DIRECT = "direct"


def _run(context: Context) -> None:
    folder = context.folder("cold")
    with (
        fake_upstream(folder / "upstream") as upstream,
        waystation(folder / "ours", upstream.url) as ours,
        aiohttp_baseline(folder / "bare", upstream.url) as least,
    ):
        clients = {DIRECT: Client(upstream.url), OURS: Client(ours.url)}
        floor = Client(least.url)
        floor.get(_page(project(1, serial=999_999)), UV)
        for client in clients.values():  # from now on there is a connection to upstream
            client.get(_page(project(1, serial=999_999)), UV)
        for number in context.each_round():
            for i in range(context.sizes.cold):
                name = project(30, serial=number * 1_000 + i)
                for contender, page, file in _asked(
                    context, upstream, clients | {AIOHTTP_BASELINE: floor}, name
                ):
                    context.record("cold-page", contender, page.seconds * 1e3)
                    context.record("cold-file", contender, file.seconds * 1e3)
            name = project(1, context.sizes.cold_size, serial=number)
            for contender, _, file in _asked(context, upstream, clients, name):
                context.record("cold-first-byte", contender, file.first_byte * 1e3)
            name = project(context.sizes.pages[-1], serial=number)
            for contender, page, _ in _asked(context, upstream, clients, name):
                context.record("cold-large-page", contender, page.seconds * 1e3)
        for client in (*clients.values(), floor):
            client.close()


def _asked(
    context: Context, upstream: FakeUpstream, clients: dict[str, Client], name: str
) -> Iterator[tuple[str, Answer, Answer]]:
    """Each contender's times for the project's page and then its first file."""
    upstream.pace()
    get(upstream.url + _page(name), UV)  # so that making it does not show in the times
    upstream.pace(context.sizes.latency)
    for contender, client in clients.items():
        context.calm()
        page = client.get(_page(name), UV)
        file = client.get(first_file(page, _page(name)), UV_FILE)
        yield contender, page, file
        time.sleep(context.sizes.rest)


def _page(name: str) -> str:
    return f"/simple/{name}/"


def first_file(page: Answer, path: str) -> str:
    """The path of the first file that the page lists."""
    zipped = page.headers.get("content-encoding") == "gzip"
    files = json.loads(gzip.decompress(page.body) if zipped else page.body)["files"]
    return str(urlsplit(urljoin(path, files[0]["url"])).path)


def _least(key: str, work: str) -> Row:
    return Row(key, f"{work}: bare aiohttp between", "ms", against=DIRECT, ours=AIOHTTP_BASELINE)


SCENARIOS = (
    Scenario(
        "cold",
        "cold pages and files, upstream 50 ms away",
        _run,
        [
            Row("cold-page", "cold page, 30 files", "ms", 1.05, most=True, against=DIRECT),
            _least("cold-page", "cold page, 30 files"),
            Row("cold-file", "cold wheel, 11 kB", "ms", 1.05, most=True, against=DIRECT),
            _least("cold-file", "cold wheel, 11 kB"),
            Row(
                "cold-first-byte",
                "cold file of 20 MB, first byte",
                "ms",
                1.05,
                most=True,
                against=DIRECT,
            ),
            Row(
                "cold-large-page",
                "cold page of 10,000 files, above what upstream takes",
                "ms",
                60,
                most=True,
                kind="difference",
                against=DIRECT,
            ),
        ],
    ),
)
