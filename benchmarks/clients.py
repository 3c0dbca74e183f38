"""Requests that wrk cannot make: a single one with its answer, readers of large files, a probe.

Run as a program it keeps reading one address with many readers until it is ended.
"""

from __future__ import annotations

import http.client
import json
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from benchmarks.processes import Broken

TIMEOUT = 60.0
"""Seconds without a byte."""
_TAKEN = 1024 * 1024
"""Bytes taken from the kernel at a time."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    """Names in lower case."""
    body: bytes
    first_byte: float
    """Seconds from the request to the first byte of the body."""
    seconds: float
    """To its last."""


class Client:
    """One connection that stays open."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=TIMEOUT)
        self._connection.connect()

    def get(self, path: str, headers: Mapping[str, str], expect: int = 200) -> Answer:
        """Raises ``Broken`` for another status."""
        began = time.perf_counter()
        self._connection.request("GET", path, headers=dict(headers))
        response = self._connection.getresponse()
        first = response.read(1)
        first_byte = time.perf_counter() - began
        body = first + response.read()
        seconds = time.perf_counter() - began
        if response.status != expect:
            raise Broken(f"{response.status} in place of {expect} for {path}: {body[:200]!r}")
        names = {name.lower(): value for name, value in response.getheaders()}
        return Answer(response.status, names, body, first_byte, seconds)

    def close(self) -> None:
        self._connection.close()


def get(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """One request over a connection of its own."""
    parts = urlsplit(url)
    client = Client(url)
    try:
        return client.get(parts.path + (f"?{parts.query}" if parts.query else ""), headers or {})
    finally:
        client.close()


def get_json(url: str) -> dict[str, object]:
    found = json.loads(get(url).body)
    assert isinstance(found, dict)
    return found


def read_all(url: str, readers: int, times: int = 1) -> float:
    """Seconds until all concurrent readers have read the whole file ``times`` times.

    The kernel discards the bytes, so that reading costs next to nothing. Raises ``Broken``.
    """
    errors: list[Exception] = []

    def work() -> None:
        try:
            _Reader(url).read(times)
        except (OSError, Broken) as error:
            errors.append(error)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(readers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise Broken(f"{len(errors)} of {readers} readers of {url} failed: {errors[0]}")
    return time.perf_counter() - began


class _Reader:
    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname and parts.port
        self._address = (parts.hostname, parts.port)
        head = f"GET {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAccept: */*\r\n\r\n"
        self._request = head.encode()

    def read(self, times: int) -> None:
        buffer = bytearray(_TAKEN)
        with socket.create_connection(self._address, TIMEOUT) as connection:
            for _ in range(times):
                connection.sendall(self._request)
                left = _left_after_head(connection)
                while left:
                    taken = connection.recv_into(buffer, min(left, _TAKEN), socket.MSG_TRUNC)
                    if not taken:
                        raise Broken(f"cut off {left} bytes before the end")
                    left -= taken


def _left_after_head(connection: socket.socket) -> int:
    """Read the answer's head; the bytes of the body that are still to come."""
    received = b""
    while b"\r\n\r\n" not in received:
        more = connection.recv(4096)
        if not more:
            raise Broken("no answer")
        received += more
    head, _, body = received.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").lower().split("\r\n")
    length = next((line for line in lines if line.startswith("content-length:")), None)
    if " 200 " not in first or length is None:
        raise Broken(f"not a whole file of known length: {first}")
    return int(length.partition(":")[2]) - len(body)


def main(arguments: Sequence[str]) -> None:
    url, readers = arguments
    while True:
        read_all(url, int(readers), times=100)


if __name__ == "__main__":
    main(sys.argv[1:])
