"""Scenario, where asked: other servers, installed from PyPI into environments of their own, each
with the options it needs to do the same work. The same stand-in upstream, the same installs."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from http.client import HTTPConnection
from pathlib import Path

from benchmarks import graph
from benchmarks.agents import UV
from benchmarks.cold import DIRECT
from benchmarks.installers import install
from benchmarks.lab import Lab, Scenario, say
from benchmarks.load import drive
from benchmarks.processes import Server, free_port, running
from benchmarks.rows import OURS, Row
from benchmarks.servers import stand_in, waystation

PAGE = "root-00/"
ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Place:
    """What a peer is told of where it runs."""

    bin: Path
    folder: Path
    port: int
    upstream: str
    """The root of the simple API."""
    wheels: Path


@dataclass(frozen=True, slots=True)
class Peer:
    name: str
    requirements: Sequence[str]
    command: Callable[[Place], list[str]]
    index: str
    """The path of its simple API."""
    environment: Callable[[Place], dict[str, str]] = field(default=lambda place: {})
    prepare: Callable[[Place], None] = field(default=lambda place: None)
    configure: Callable[[Place], None] = field(default=lambda place: None)
    ready: str = "/"


def _make_devpi(place: Place) -> None:
    command = [str(place.bin / "devpi-init"), "--serverdir", str(place.folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _point_devpi(place: Place) -> None:
    """To our upstream, whose list of all projects it shall not wait for."""
    connection = HTTPConnection("127.0.0.1", place.port, timeout=30)
    connection.request("POST", "/+login", json.dumps({"user": "root", "password": ""}))
    token = json.loads(connection.getresponse().read())["result"]["password"]
    headers = {"X-Devpi-Auth": b64encode(f"root:{token}".encode()).decode()}
    wanted = [f"mirror_url={place.upstream}", "mirror_use_external_urls=False"]
    wanted += ["mirror_no_project_list=True", "mirror_cache_expiry=86400"]
    connection.request("PATCH", "/root/pypi", json.dumps(wanted), headers)
    connection.getresponse().read()
    connection.close()


PEERS = (
    Peer(
        "proxpi",
        ["proxpi", "gunicorn"],
        lambda place: [
            *(str(place.bin / "gunicorn"), "proxpi.server:app", "--threads", "32"),
            *("--bind", f"127.0.0.1:{place.port}", "--access-logfile", "-"),
        ],
        "/index/",
        environment=lambda place: {
            "PROXPI_INDEX_URL": place.upstream,
            "PROXPI_CACHE_DIR": str(place.folder / "cache"),
            "PROXPI_DOWNLOAD_TIMEOUT": "60",
        },
    ),
    Peer(
        "devpi-server",
        ["devpi-server"],
        lambda place: [
            *(str(place.bin / "devpi-server"), "--serverdir", str(place.folder / "data")),
            *("--host", "127.0.0.1", "--port", str(place.port), "--enable-core-metadata"),
        ],
        "/root/pypi/+simple/",
        prepare=_make_devpi,
        configure=_point_devpi,
        ready="/+api",
    ),
    Peer(
        "simple-repository-server",
        ["simple-repository-server"],
        lambda place: [
            *(str(place.bin / "simple-repository-server"), "--stream-http-resources"),
            *("--host", "127.0.0.1", "--port", str(place.port), place.upstream),
        ],
        "/simple/",
        ready="/simple/root-00/",
    ),
    Peer(
        "pypiserver",
        ["pypiserver[cache]"],
        lambda place: [
            *(str(place.bin / "pypi-server"), "run", "--host", "127.0.0.1"),
            *("--port", str(place.port), "--disable-fallback", str(place.wheels)),
        ],
        "/simple/",
    ),
)
"""pypiserver has the files itself: it fetches none."""


def _run(lab: Lab) -> None:
    wheels = lab.wheels()
    places = {peer.name: _installed(lab, peer) for peer in PEERS}
    with stand_in(lab.folder("upstream"), wheels) as upstream:
        upstream.pace(lab.sizes.latency)
        for _ in lab.each_round(ROUNDS):
            _install(lab, "peer-cold", DIRECT, f"{upstream.url}/simple/")
            lab.record("peer-warm", DIRECT, lab.samples["peer-cold"][DIRECT][-1])
            with waystation(lab.folder("ours"), upstream.url) as ours:
                _measure(lab, ours, "/simple/")
            for peer in PEERS:
                folder, index = lab.folder(peer.name), f"{upstream.url}/simple/"
                place = Place(places[peer.name], folder, free_port(), index, wheels)
                with _served(peer, place) as server:
                    _measure(lab, server, peer.index)


def _installed(lab: Lab, peer: Peer) -> Path:
    """The folder with its programs."""
    say(f"  installing {peer.name}")
    folder = lab.folder(f"{peer.name}-environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    command = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
    subprocess.run([*command, *peer.requirements], check=True, capture_output=True, timeout=600)
    return folder / "bin"


@contextlib.contextmanager
def _served(peer: Peer, place: Place) -> Iterator[Server]:
    peer.prepare(place)
    with running(
        peer.name,
        peer.command(place),
        port=place.port,
        folder=place.folder,
        environment=peer.environment(place),
        ready=peer.ready,
    ) as server:
        peer.configure(place)
        yield server


def _measure(lab: Lab, server: Server, index: str) -> None:
    lab.record("peer-memory", server.name, server.pss())
    _install(lab, "peer-cold", server.name, server.url + index)
    _install(lab, "peer-warm", server.name, server.url + index)
    load = drive(server, f"{index}{PAGE}", UV, seconds=lab.sizes.seconds)
    lab.record("peer-page", server.name, load.rate)
    lab.record("peer-page-cpu", server.name, load.cpu)


def _install(lab: Lab, key: str, who: str, index: str) -> None:
    names = graph.roots()[: lab.sizes.roots]
    lab.calm()
    lab.record(key, who, install("uv", index, names, lab.folder("target", fast=True)))


def _rows(name: str) -> list[Row]:
    return [
        Row("peer-page", "warm page", "requests/s", against=OURS, ours=name),
        Row("peer-page-cpu", "warm page: server CPU", "µs/request", against=OURS, ours=name),
        Row("peer-cold", "uv pip install, cold", "s", against=DIRECT, ours=name),
        Row("peer-warm", "uv pip install, warm", "s", against=DIRECT, ours=name),
        Row("peer-memory", "memory, idle", "MB", kind="value", against=None, ours=name),
    ]


SCENARIOS = (
    Scenario(
        "peers",
        "other servers, doing the same (only where asked: --peers)",
        _run,
        [row for name in (OURS, *(peer.name for peer in PEERS)) for row in _rows(name)],
    ),
)
