"""Scenario: what nobody has asked for yet, through us and directly, upstream some way off."""

from __future__ import annotations

import gzip
import json
import time
from collections.abc import Iterator
from urllib.parse import urljoin, urlsplit

from benchmarks.agents import UV, UV_FILE
from benchmarks.bare import BARE, bare
from benchmarks.clients import Answer, Client, get
from benchmarks.lab import Lab, Scenario
from benchmarks.made import project
from benchmarks.rows import OURS, Row
from benchmarks.servers import StandIn, stand_in, waystation

DIRECT = "direct"


def _run(lab: Lab) -> None:
    folder = lab.folder("cold")
    with (
        stand_in(folder / "upstream") as upstream,
        waystation(folder / "ours", upstream.url) as ours,
        bare(folder / "bare", upstream.url) as least,
    ):
        clients = {DIRECT: Client(upstream.url), OURS: Client(ours.url)}
        floor = Client(least.url)
        floor.get(_page(project(1, serial=999_999)), UV)
        for client in clients.values():  # from now on there is a connection to upstream
            client.get(_page(project(1, serial=999_999)), UV)
        for number in lab.each_round():
            for i in range(lab.sizes.cold):
                name = project(30, serial=number * 1_000 + i)
                for who, page, file in _asked(lab, upstream, clients | {BARE: floor}, name):
                    lab.record("cold-page", who, page.seconds * 1e3)
                    lab.record("cold-file", who, file.seconds * 1e3)
            name = project(1, lab.sizes.cold_size, serial=number)
            for who, _, file in _asked(lab, upstream, clients, name):
                lab.record("cold-first-byte", who, file.first_byte * 1e3)
            name = project(lab.sizes.pages[-1], serial=number)
            for who, page, _ in _asked(lab, upstream, clients, name):
                lab.record("cold-large-page", who, page.seconds * 1e3)
        for client in (*clients.values(), floor):
            client.close()


def _asked(
    lab: Lab, upstream: StandIn, clients: dict[str, Client], name: str
) -> Iterator[tuple[str, Answer, Answer]]:
    """Each contender's times for the project's page and then its first file."""
    upstream.pace()
    get(upstream.url + _page(name), UV)  # so that making it does not show in the times
    upstream.pace(lab.sizes.latency)
    for who, client in clients.items():
        lab.calm()
        page = client.get(_page(name), UV)
        file = client.get(first_file(page, _page(name)), UV_FILE)
        yield who, page, file
        time.sleep(lab.sizes.rest)


def _page(name: str) -> str:
    return f"/simple/{name}/"


def first_file(page: Answer, path: str) -> str:
    """The path of the first file that the page lists."""
    zipped = page.headers.get("content-encoding") == "gzip"
    files = json.loads(gzip.decompress(page.body) if zipped else page.body)["files"]
    return str(urlsplit(urljoin(path, files[0]["url"])).path)


def _least(key: str, work: str) -> Row:
    return Row(key, f"{work}: bare aiohttp between", "ms", against=DIRECT, ours=BARE)


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
