"""Scenario, where asked: other servers do the same, with the same upstream and clients."""

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
from benchmarks.lab import Lab, Scenario, say
from benchmarks.load import drive
from benchmarks.made import project
from benchmarks.peer_servers import PEERS, installed, served
from benchmarks.processes import Broken, Server
from benchmarks.rows import OURS, Row
from benchmarks.servers import StandIn, stand_in, waystation

ROUNDS = 3
SMALL = next(
    each.name for each in graph.projects() if each.size == 14_000 and each.number % graph.BINARY
)
"""A project of the installs with 13 files, of which the newest, ..."""
NEWEST = "-3.3-py3-none-any.whl"
"""... which is called so, has 14 kB."""
MANY = 300
"""Files of a larger page."""
WAYS: dict[str, str] = {OURS: "/simple/"} | {peer.name: peer.index for peer in PEERS}
"""By server: the path of its simple API."""
FETCH = {OURS, DIRECT} | {peer.name for peer in PEERS if peer.fetches}


def _run(lab: Lab) -> None:
    wheels = lab.wheels()
    programs = {peer.name: installed(lab, peer) for peer in PEERS}
    with stand_in(lab.folder("upstream"), wheels) as upstream:
        index = f"{upstream.url}/simple/"

        @contextmanager
        def started(name: str) -> Iterator[Server]:
            for peer in PEERS:
                if peer.name == name:
                    with served(lab, peer, programs[name], index, wheels) as server:
                        yield server
                    return
            with waystation(lab.folder("ours"), upstream.url) as server:
                yield server

        for number in lab.each_round(ROUNDS):
            upstream.pace(lab.sizes.latency)
            _direct(lab, upstream, number)
            for name, path in WAYS.items():
                say(f"    {name}")
                with started(name) as server:
                    lab.record("peer-memory", name, server.pss())
                    _installs(lab, name, "uv", server.url + path)
                    _cold(lab, upstream, name, server.url + path, number)
                    upstream.pace()
                    _warm(lab, server, server.url + path)
                    upstream.pace(lab.sizes.latency)
                if number == 0:  # it takes long, and differs by little
                    with started(name) as server:
                        _installs(lab, name, "pip", server.url + path)


def _direct(lab: Lab, upstream: StandIn, number: int) -> None:
    index = f"{upstream.url}/simple/"
    _cold(lab, upstream, DIRECT, index, number)
    for tool in ("uv", "pip") if number == 0 else ("uv",):
        _install(lab, f"peer-{tool}-cold", DIRECT, tool, index)


def _installs(lab: Lab, who: str, tool: Tool, index: str) -> None:
    for state in ("cold", "warm"):
        _install(lab, f"peer-{tool}-{state}", who, tool, index)


def _install(lab: Lab, key: str, who: str, tool: Tool, index: str) -> None:
    names = graph.roots()[: lab.sizes.roots]
    lab.calm()
    lab.record(key, who, install(tool, index, names, lab.folder("target", fast=True)))


def _cold(lab: Lab, upstream: StandIn, who: str, index: str, number: int) -> None:
    """Pages and files that nobody has asked for, over one connection."""
    if who not in FETCH:
        return
    client = Client(index)
    for i in range(lab.sizes.cold + 1):
        name = project(30, serial=number * 1_000 + i)
        get(f"{upstream.url}/simple/{name}/", UV)  # so that making it does not show in the times
        page = client.get(urlsplit(f"{index}{name}/").path, UV)
        file = client.get(urlsplit(_links(page, f"{index}{name}/")[0]).path, UV_FILE)
        if i:  # from the first on there is a connection to upstream
            lab.record("peer-cold-page", who, page.seconds * 1e3)
            lab.record("peer-cold-file", who, file.seconds * 1e3)
    client.close()


def _warm(lab: Lab, server: Server, index: str) -> None:
    page = f"{index}{SMALL}/"
    file = next(each for each in _links(get(page, UV), page) if each.endswith(NEWEST))
    _rate(lab, "peer-page", server, page)
    _rate(lab, "peer-file", server, file)
    _rate(lab, "peer-metadata", server, f"{file}.metadata")
    if server.name in FETCH:
        _rate(lab, "peer-many", server, f"{index}{project(MANY)}/")
        page = f"{index}{project(1, lab.sizes.large)}/"
        large = _links(get(page, UV), page)[0]
        _seconds(large)
        lab.calm()
        lab.record("peer-large", server.name, lab.sizes.large / 1e6 / _seconds(large))


def _rate(lab: Lab, key: str, server: Server, url: str) -> None:
    """Nothing is recorded of what it does not have."""
    headers = UV_FILE if key in ("peer-file", "peer-metadata") else UV
    try:
        get(url, headers)
    except Broken as error:
        status = str(error).partition(":")[0]
        say(f"      {server.name} has no {key.removeprefix('peer-')}: {status}")
        return
    lab.calm()
    load = drive(server, urlsplit(url).path, headers, seconds=lab.sizes.seconds)
    lab.record(key, server.name, load.rate)
    if key == "peer-page":
        lab.record("peer-page-cpu", server.name, load.cpu)


def _seconds(url: str) -> float:
    """To read the file; one whose length is not told is read by a slower reader."""
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
            _row("peer-many", f"warm page of {MANY} files", "requests/s"),
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
