"""Scenario: how long the slowest of a hundred warm answers take, at half of the possible rate.

wrk knows no rate. A client of raw sockets sends at fixed intervals here, whether or not answers
have come, over many connections; a request for which no connection is free counts from when it
was due. The error of the client itself, how late it sends, is a row of the table.

A moment without a core would hide everything. Servers and client run before other work on the
machine, where that is permitted; in short bursts, since the kernel stops such processes for a
while in every second. Each burst has a p99, and the lower quartile of these counts, since other
work only adds to it: a burst is longer than any interval in which a server writes its log.

    python -m benchmarks tail
"""

from __future__ import annotations

import contextlib
import gc
import os
import select
import socket
import statistics
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from benchmarks.agents import UV, UV_FILE
from benchmarks.clients import Client
from benchmarks.load import CONNECTIONS, drive
from benchmarks.measures import Row
from benchmarks.pages import copy_small_files
from benchmarks.processes import Broken, Server, prefer
from benchmarks.scenario import FULL, Context, Scenario
from benchmarks.servers import TUNED
from benchmarks.static_copy import Pair, copy_page, pair
from benchmarks.synthetic_projects import project

SHARE = 0.5
"""Of the rate that the slower server reaches with wrk: the same rate for all."""
PAGES = (3, 300)
BUFFER = 256 * 1024
BURST, PAUSE_BETWEEN_BURSTS = 0.4, 0.3
"""Seconds of load, and without."""
PATIENCE = 5.0
"""Seconds without any answer after which a server counts as broken."""


@dataclass(slots=True)
class Latencies:
    """In seconds: of answers, and from when a request was due until it was sent."""

    answers: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)


class PacedClient:
    """Requests one path at a fixed rate over persistent connections."""

    def __init__(self, url: str, path: str, headers: Mapping[str, str]) -> None:
        parts = urlsplit(url)
        lines = [f"GET {path} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self._request = "\r\n".join([*lines, "", ""]).encode()
        probe = Client(url)
        self._body = len(probe.get(path, headers).body)
        probe.close()
        self._poll = select.epoll()
        self._sockets: dict[int, socket.socket] = {}
        for _ in range(CONNECTIONS):
            self._connect((str(parts.hostname), parts.port or 80))
        self._free = deque(self._sockets.values())
        self._buffer = bytearray(BUFFER)
        self._began: dict[int, float] = {}
        self._left: dict[int, int] = {}

    def burst(self, rate: float) -> Latencies:
        """Raises ``Broken`` if answers fail to come."""
        found = Latencies()
        gc.disable()
        try:
            self._send_all(found, rate)
        finally:
            gc.enable()
        return found

    def close(self) -> None:
        for each in self._sockets.values():
            each.close()
        self._poll.close()

    def _connect(self, address: tuple[str, int]) -> None:
        connection = socket.create_connection(address)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sockets[connection.fileno()] = connection
        self._poll.register(connection, select.EPOLLIN)

    def _send_all(self, found: Latencies, rate: float) -> None:
        clock = time.perf_counter
        due = progress = clock()
        end = due + BURST
        late = False
        while due < end or self._began:
            now = clock()
            if due <= now and due < end:
                if self._free:
                    self._send(found, due, now, late)
                    due += 1 / rate
                    late = False
                else:
                    late = True
            for descriptor, _ in self._poll.poll(0):
                self._receive(found, descriptor)
                progress = now
            if now - progress > PATIENCE:
                raise Broken("no answer to paced requests")

    def _send(self, found: Latencies, due: float, now: float, late: bool) -> None:
        connection = self._free.popleft()
        connection.send(self._request)
        self._began[connection.fileno()] = due if late else now
        if not late:
            found.lags.append(now - due)

    def _receive(self, found: Latencies, descriptor: int) -> None:
        size = self._sockets[descriptor].recv_into(self._buffer)
        if descriptor not in self._left:
            head = self._buffer.find(b"\r\n\r\n", 0, size)
            if head < 0 or not self._buffer.startswith(b"HTTP/1.1 200"):
                raise Broken(f"no whole answer: {bytes(self._buffer[:100])!r}")
            self._left[descriptor] = head + 4 + self._body
        self._left[descriptor] -= size
        if self._left[descriptor] <= 0 or not size:
            del self._left[descriptor]
            found.answers.append(time.perf_counter() - self._began.pop(descriptor))
            self._free.append(self._sockets[descriptor])


def _run(context: Context) -> None:
    with pair(context) as those, preferred(those.servers):
        places = _places(context, those)
        rates = {key: _rate(context, those, paths, key) for key, paths in places.items()}
        for _ in context.each_round():
            for key, paths in places.items():
                context.calm()
                _bursts(context, those, key, paths, rates[key])


def _bursts(context: Context, those: Pair, key: str, paths: Mapping[str, str], rate: float) -> None:
    clients = {
        each.name: PacedClient(each.url, paths[each.name], _headers(key)) for each in those.servers
    }
    found: dict[tuple[str, str], list[float]] = {}
    for _ in range(round(context.sizes.seconds / BURST)):
        for name, client in clients.items():
            burst = client.burst(rate)
            found.setdefault(("p50", name), []).append(_percentile(burst.answers, 50))
            found.setdefault(("p99", name), []).append(_percentile(burst.answers, 99))
            found.setdefault(("lag", name), []).append(_percentile(burst.lags, 99))
            time.sleep(PAUSE_BETWEEN_BURSTS)
    for (figure, name), values in found.items():
        context.record(f"tail-{key}-{figure}", name, statistics.quantiles(values, n=4)[0])
    for client in clients.values():
        client.close()


@contextlib.contextmanager
def preferred(servers: Sequence[Server]) -> Iterator[None]:
    """This process and the servers run before other work until the block is left."""
    prefer(os.getpid())
    for server in servers:
        server.prefer()
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def _places(context: Context, those: Pair) -> dict[str, dict[str, str]]:
    """By kind of answer: the path on each server."""
    places = {}
    for files in PAGES:
        copy_page(those.ours, those.root, project(files))
        places[f"page-{files}"] = {
            each.name: those.page(each, project(files)) for each in those.servers
        }
    for key, path in copy_small_files(context, those).items():
        places[key] = {each.name: path for each in those.servers}
    return places


def _rate(context: Context, those: Pair, paths: dict[str, str], key: str) -> float:
    """Half the saturating rate of the slower of nginx and ours."""
    rates = []
    for server in those.both:
        context.calm()
        load = drive(server, paths[server.name], _headers(key), seconds=context.sizes.seconds)
        rates.append(load.rate)
    return min(rates) * SHARE


def _percentile(seconds: Sequence[float], which: int) -> float:
    """In microseconds."""
    return statistics.quantiles(seconds, n=100)[which - 1] * 1e6


def _headers(key: str) -> dict[str, str]:
    return UV if key.startswith("page") else UV_FILE


def _rows(key: str, work: str) -> Sequence[Row]:
    return (
        Row(f"tail-{key}-p99", f"{work}: p99", "µs", 1.2, most=True),
        Row(f"tail-{key}-p99", f"{work}: p99", "µs", against=TUNED),
        Row(f"tail-{key}-p50", f"{work}: p50", "µs"),
        Row(f"tail-{key}-lag", f"{work}: p99 of the client's own delay", "µs"),
    )


SCENARIOS = (
    Scenario(
        "tail",
        "p99 of warm pages, core metadata and small wheels at half the saturating rate",
        _run,
        [
            *(row for files in PAGES for row in _rows(f"page-{files}", f"page, {files} files")),
            *_rows("metadata", ".metadata, 2 kB"),
            *(row for size in FULL.wheels for row in _rows(f"wheel-{size}", f"wheel, {size} B")),
        ],
    ),
)
