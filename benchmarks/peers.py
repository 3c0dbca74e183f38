"""Scenario with ``--peers``: other servers do the same work, with the same upstream and clients."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urldefrag, urljoin, urlsplit

from bs4 import BeautifulSoup

from benchmarks import graph
from benchmarks.agents import UV, UV_FILE
from benchmarks.clients import Answer, Client, get, read_all
from benchmarks.cold import DIRECT
from benchmarks.installers import Tool, install
from benchmarks.load import drive
from benchmarks.measures import OURS, Row
from benchmarks.peer_servers import PEERS, installed, served
from benchmarks.processes import Broken, Server
from benchmarks.scenario import Context, Scenario, say
from benchmarks.servers import FakeUpstream, fake_upstream, waystation
from benchmarks.synthetic_projects import project

ROUNDS = 3
SMALL = next(
    each.name for each in graph.projects() if each.size == 14_000 and each.number % graph.BINARY
)
"""A project of the installs with 13 files, of which the newest, ..."""
NEWEST = "-3.3-py3-none-any.whl"
"""... which is called so, has 14 kB."""
MANY_FILES = 300
"""Files of a larger page."""
WAYS: dict[str, str] = {OURS: "/simple/"} | {peer.name: peer.index for peer in PEERS}
"""By server: the path of its simple API."""
FETCH = {OURS, DIRECT} | {peer.name for peer in PEERS if peer.fetches}


def _run(context: Context) -> None:
    wheels = context.wheels()
    programs = {peer.name: installed(context, peer) for peer in PEERS}
    with fake_upstream(context.folder("upstream"), wheels) as upstream:
        index = f"{upstream.url}/simple/"

        @contextmanager
        def started(name: str) -> Iterator[Server]:
            for peer in PEERS:
                if peer.name == name:
                    with served(context, peer, programs[name], index, wheels) as server:
                        yield server
                    return
            with waystation(context.folder("ours"), upstream.url) as server:
                yield server

        for number in context.each_round(ROUNDS):
            upstream.pace(context.sizes.latency)
            _direct(context, upstream, number)
            for name, path in WAYS.items():
                say(f"    {name}")
                with started(name) as server:
                    context.record("peer-memory", name, server.pss())
                    _installs(context, name, "uv", server.url + path)
                    _cold(context, upstream, name, server.url + path, number)
                    upstream.pace()
                    _warm(context, server, server.url + path)
                    upstream.pace(context.sizes.latency)
                if number == 0:  # it takes long, and differs by little
                    with started(name) as server:
                        _installs(context, name, "pip", server.url + path)


def _direct(context: Context, upstream: FakeUpstream, number: int) -> None:
    index = f"{upstream.url}/simple/"
    _cold(context, upstream, DIRECT, index, number)
    for tool in ("uv", "pip") if number == 0 else ("uv",):
        _install(context, f"peer-{tool}-cold", DIRECT, tool, index)


def _installs(context: Context, contender: str, tool: Tool, index: str) -> None:
    for state in ("cold", "warm"):
        _install(context, f"peer-{tool}-{state}", contender, tool, index)


def _install(context: Context, key: str, contender: str, tool: Tool, index: str) -> None:
    names = graph.roots()[: context.sizes.roots]
    context.calm()
    context.record(key, contender, install(tool, index, names, context.folder("target", fast=True)))


def _cold(
    context: Context, upstream: FakeUpstream, contender: str, index: str, number: int
) -> None:
    """First requests for pages and files, over one connection."""
    if contender not in FETCH:
        return
    client = Client(index)
    for i in range(context.sizes.cold + 1):
        name = project(30, serial=number * 1_000 + i)
        get(f"{upstream.url}/simple/{name}/", UV)  # so that making it does not show in the times
        page = client.get(urlsplit(f"{index}{name}/").path, UV)
        file = client.get(urlsplit(_links(page, f"{index}{name}/")[0]).path, UV_FILE)
        if i:  # from the first on there is a connection to upstream
            context.record("peer-cold-page", contender, page.seconds * 1e3)
            context.record("peer-cold-file", contender, file.seconds * 1e3)
    client.close()


def _warm(context: Context, server: Server, index: str) -> None:
    page = f"{index}{SMALL}/"
    file = next(each for each in _links(get(page, UV), page) if each.endswith(NEWEST))
    _rate(context, "peer-page", server, page)
    _rate(context, "peer-file", server, file)
    _rate(context, "peer-metadata", server, f"{file}.metadata")
    if server.name in FETCH:
        _rate(context, "peer-many", server, f"{index}{project(MANY_FILES)}/")
        page = f"{index}{project(1, context.sizes.large)}/"
        large = _links(get(page, UV), page)[0]
        _seconds(large)
        context.calm()
        context.record("peer-large", server.name, context.sizes.large / 1e6 / _seconds(large))


def _rate(context: Context, key: str, server: Server, url: str) -> None:
    """Record the rate; nothing where the peer lacks the path."""
    headers = UV_FILE if key in ("peer-file", "peer-metadata") else UV
    try:
        get(url, headers)
    except Broken as error:
        status = str(error).partition(":")[0]
        say(f"      {server.name} has no {key.removeprefix('peer-')}: {status}")
        return
    context.calm()
    load = drive(server, urlsplit(url).path, headers, seconds=context.sizes.seconds)
    context.record(key, server.name, load.rate)
    if key == "peer-page":
        context.record("peer-page-cpu", server.name, load.cpu)


def _seconds(url: str) -> float:
    """Seconds to read the file; a slower reader takes files without a length."""
    try:
        return read_all(url, 1)
    except Broken:
        return get(url, UV_FILE).seconds


def _links(page: Answer, url: str) -> list[str]:
    """The addresses of the wheels that the page lists, in whichever form it came."""
    zipped = page.headers.get("content-encoding") == "gzip"
    body = gzip.decompress(page.body) if zipped else page.body
    if "json" in page.headers.get("content-type", ""):
        found = [str(file["url"]) for file in json.loads(body)["files"]]
    else:
        anchors = BeautifulSoup(body, "html.parser").find_all("a")
        found = [str(anchor["href"]) for anchor in anchors]
    addresses = [urldefrag(urljoin(url, each)).url for each in found]
    return [each for each in addresses if each.endswith(".whl")]


def _row(key: str, work: str, unit: str) -> Row:
    return Row(key, work, unit, kind="value", against=None)


SCENARIOS = (
    Scenario(
        "peers",
        "other servers, doing the same (only where asked: --peers)",
        _run,
        [
            _row("peer-page", "warm page of 13 files", "requests/s"),
            _row("peer-page-cpu", "warm page of 13 files: server CPU", "µs/request"),
            _row("peer-many", f"warm page of {MANY_FILES} files", "requests/s"),
            _row("peer-metadata", "warm .metadata", "requests/s"),
            _row("peer-file", "warm wheel, 14 kB", "requests/s"),
            _row("peer-large", "warm file of 100 MB, one reader", "MB/s"),
            _row("peer-cold-page", "cold page of 30 files, upstream 50 ms away", "ms"),
            _row("peer-cold-file", "cold wheel of 11 kB, upstream 50 ms away", "ms"),
            _row("peer-uv-cold", "uv pip install of about 90 projects, cold", "s"),
            _row("peer-uv-warm", "uv pip install of about 90 projects, warm", "s"),
            _row("peer-pip-cold", "pip install of about 90 projects, cold", "s"),
            _row("peer-pip-warm", "pip install of about 90 projects, warm", "s"),
            _row("peer-memory", "memory, idle", "MB"),
        ],
        compared=(*WAYS, DIRECT),
    ),
)
