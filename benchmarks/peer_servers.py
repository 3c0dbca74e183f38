"""Other servers, installed from PyPI into environments of their own, each with the options that it
needs to do the same work."""

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

from benchmarks.processes import Server, free_port, running
from benchmarks.scenario import Context, say


@dataclass(frozen=True, slots=True)
class Place:
    """The addresses and folders that a peer is configured with."""

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
    fetches: bool = True
    """Files and pages that it does not have come from upstream."""


def _make_devpi(place: Place) -> None:
    command = [str(place.bin / "devpi-init"), "--serverdir", str(place.folder / "data")]
    subprocess.run(command, check=True, capture_output=True, timeout=60)


def _point_devpi(place: Place) -> None:
    """Point devpi to our upstream, without waiting for the list of all projects."""
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
        fetches=False,
    ),
)
"""pypiserver has the files of the installs itself."""


def installed(context: Context, peer: Peer) -> Path:
    """The folder with the peer's programs; its version is noted."""
    say(f"  installing {peer.name}")
    folder = context.folder(f"{peer.name}-environment")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin" / "python")
    command = [python, "-m", "pip", "install", "--quiet", *peer.requirements]
    subprocess.run(command, check=True, capture_output=True, timeout=600)
    code = f"from importlib.metadata import version; print(version({peer.name!r}))"
    done = subprocess.run([python, "-c", code], check=True, capture_output=True, text=True)
    context.versions[peer.name] = done.stdout.strip()
    return folder / "bin"


@contextlib.contextmanager
def served(
    context: Context, peer: Peer, programs: Path, upstream: str, wheels: Path
) -> Iterator[Server]:
    """Run the peer with an empty cache. ``upstream``: the root of the simple API."""
    place = Place(programs, context.folder(peer.name), free_port(), upstream, wheels)
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
