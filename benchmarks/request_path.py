"""How long the way of a request is: modules, functions and calls of ``proxy`` for each kind.

``python -m benchmarks.request_path`` runs ``waystation serve`` in this process, in front of an
upstream on loopback, under a profiler, and prints one row for each kind of request. Work done in
the background of an answer counts. ``--modules`` lists the modules of each row. Needs no other
tool, takes half a minute, and is no measurement of time.
"""

from __future__ import annotations

import argparse
import dis
import hashlib
import http.client
import json
import os
import random
import signal
import socket
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

QUIET = 0.6
"""Seconds after an answer in which work in the background of it is counted."""
AFTERWARDS = 3.0
"""Seconds after a request in which search has looked at its project, which is in no row: two
seconds later it would be in the row of another request."""
IDLE = 10.5
"""Seconds without a request, to learn what happens all the time."""
WHEEL = "demo-1.0-py3-none-any.whl"
METADATA = b"Metadata-Version: 2.1\nName: demo\nVersion: 1.0\n"
HEADERS = {
    "User-Agent": "request-path/1",
    "Accept": "application/vnd.pypi.simple.v1+json",
    "Accept-Encoding": "gzip",
}


class Profile:
    """The calls of functions of ``proxy`` in all threads, while a row is open."""

    def __init__(self) -> None:
        self._calls: list[tuple[str, str]] | None = None

    def __call__(self, frame: FrameType, event: str, _: Any) -> None:
        calls = self._calls
        if event != "call" or calls is None:
            return
        module = frame.f_globals.get("__name__", "")
        if module.startswith("proxy.") and frame.f_lasti <= _start_of(frame.f_code):
            calls.append((module, frame.f_code.co_qualname))

    def start(self) -> None:
        self._calls = []

    def stop(self) -> list[tuple[str, str]]:
        calls, self._calls = self._calls or [], None
        return calls


@cache
def _start_of(code: CodeType) -> int:
    """Where a call begins; a coroutine or generator that is resumed is further on."""
    found = (each.offset for each in dis.get_instructions(code) if each.opname == "RESUME")
    return next(found, 0)


class Upstream(BaseHTTPRequestHandler):
    """One project with one wheel of 300 kB and its metadata."""

    protocol_version = "HTTP/1.1"
    wheel: bytes

    def do_GET(self) -> None:
        kind, body = self._answer()
        self.send_response(200 if body else 404)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "max-age=600")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Nothing is logged."""

    def _answer(self) -> tuple[str, bytes]:
        if self.path.endswith(".whl"):
            return "application/octet-stream", self.wheel
        if self.path.endswith(".metadata"):
            return "application/octet-stream", METADATA
        if self.path == "/simple/demo/":
            return "application/vnd.pypi.simple.v1+json", self._page()
        return "text/plain", b""

    def _page(self) -> bytes:
        file = {
            "filename": WHEEL,
            "url": f"/files/{WHEEL}",
            "hashes": {"sha256": hashlib.sha256(self.wheel).hexdigest()},
            "size": len(self.wheel),
            "upload-time": "2024-01-02T03:04:05.000000Z",
            "core-metadata": {"sha256": hashlib.sha256(METADATA).hexdigest()},
        }
        page = {"meta": {"api-version": "1.1"}, "name": "demo", "versions": ["1.0"]}
        return json.dumps({**page, "files": [file]}).encode()


def _make_wheel() -> bytes:
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("demo/noise.bin", random.Random(1).randbytes(300_000))
        archive.writestr("demo-1.0.dist-info/METADATA", METADATA)
        archive.writestr("demo-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\n")
        archive.writestr("demo-1.0.dist-info/RECORD", "")
    return buffer.getvalue()


class RawClient:
    """Sends the requests one by one, on one connection each time a row is counted."""

    def __init__(self, profile: Profile, port: int) -> None:
        self._profile = profile
        self._port = port
        self._idle: set[tuple[str, str]] = set()
        self.rows: dict[str, list[tuple[str, str]]] = {}

    def run(self) -> None:
        sys.setprofile(None)
        try:
            self._wait_until_ready()
            self._requests()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    def _requests(self) -> None:
        digest = hashlib.sha256(Upstream.wheel).hexdigest()
        page, file = "/simple/demo/", f"/files/demo/{digest}/{WHEEL}"
        self._row("page, cold", page)
        self._row("page, in memory, new request bytes", page, {"X-Other": "1"})
        self._get(page, {})
        self._row("page, same bytes seen before", page)
        self._row("`.metadata`, cold", f"{file}.metadata")
        self._row("file 300 kB, cold", file)
        self._row("file 300 kB, stored", file, {"X-Other": "1"})

    def _row(self, name: str, path: str, headers: dict[str, str] | None = None) -> None:
        self._profile.start()
        self._get(path, headers or {})
        time.sleep(QUIET)
        self.rows[name] = [call for call in self._profile.stop() if call not in self._idle]
        time.sleep(AFTERWARDS)

    def _get(self, path: str, headers: dict[str, str]) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        connection.connect()
        lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{self._port}"]
        lines += [f"{name}: {value}" for name, value in (HEADERS | headers).items()]
        connection.sock.sendall("\r\n".join([*lines, "", ""]).encode())
        response = http.client.HTTPResponse(connection.sock, method="GET")
        response.begin()
        response.read()
        if response.status != 200:
            raise RuntimeError(f"{path} was answered with {response.status}")
        connection.close()

    def _wait_until_ready(self) -> None:
        for _ in range(200):
            with suppress(OSError), socket.create_connection(("127.0.0.1", self._port)):
                break
            time.sleep(0.1)
        self._warm_up()

    def _warm_up(self) -> None:
        """Work that is done once in a process, or repeatedly without a request, is in no row."""
        with suppress(RuntimeError):
            self._get("/simple/absent/", {})
        time.sleep(AFTERWARDS)
        self._profile.start()
        time.sleep(IDLE)
        self._idle = set(self._profile.stop())


def _print(rows: dict[str, list[tuple[str, str]]], modules: bool) -> None:
    print("| request | modules | functions | calls |\n| --- | --- | --- | --- |")
    for name, calls in rows.items():
        seen = dict.fromkeys(module for module, _ in calls)
        print(f"| {name} | {len(seen)} | {len(set(calls))} | {len(calls)} |")
        if modules:
            print("  " + " · ".join(module.removeprefix("proxy.") for module in seen))


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--modules", action="store_true", help="list the modules of each row")
    parser.add_argument("--calls", action="store_true", help="list the calls of each row")
    parser.add_argument("--no-packages", action="store_true", help="without a ./packages")
    options = parser.parse_args(arguments)
    from proxy.cli import main as waystation

    Upstream.wheel = _make_wheel()
    upstream = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=upstream.serve_forever, daemon=True).start()
    profile, port = Profile(), _free_port()
    client = RawClient(profile, port)
    threading.setprofile(profile)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.environ |= {"WAYSTATION_SPECULATE": "off", "WAYSTATION_ACCESS_LOG": "false"}
        if not options.no_packages:
            Path("packages").mkdir()
            Path("packages", WHEEL.replace("demo", "private")).write_bytes(Upstream.wheel)
        threading.Thread(target=client.run, daemon=True).start()
        sys.setprofile(profile)
        url = f"http://127.0.0.1:{upstream.server_port}/simple/"
        serve = ["serve", "--upstream", url, "--cache-dir", f"{folder}/cache"]
        sys.argv = ["waystation", *serve, "--port", str(port)]
        with suppress(SystemExit):
            waystation()
        sys.setprofile(None)
        os.chdir("/")
    _print(client.rows, options.modules)
    if options.calls:
        for name, calls in client.rows.items():
            print(f"\n{name}")
            for module, function in calls:
                print(f"  {module.removeprefix('proxy.')} {function}")


if __name__ == "__main__":
    main()
