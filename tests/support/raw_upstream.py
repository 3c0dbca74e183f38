"""An index whose answers are made byte for byte, also such as are not quite HTTP."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Self

Make = Callable[[bytes], bytes]
"""Makes of a body all bytes of an answer."""
OK = b"HTTP/1.1 200 OK"
HTML = b"Content-Type: text/html"
LENGTH = b"Content-Length: %d"


def lines(*head: bytes, end: bytes = b"\r\n") -> Make:
    """An answer with exactly this head; ``%d`` is the length of the body."""

    def make(body: bytes) -> bytes:
        return end.join([*(line.replace(b"%d", b"%d" % len(body)) for line in head), b"", body])

    return make


def plain(*more: bytes, start: bytes = OK, end: bytes = b"\r\n") -> Make:
    """An answer with a type, a length and these further lines."""
    return lines(start, HTML, LENGTH, *more, end=end)


def chunked(
    *more: bytes,
    coding: bytes = b"chunked",
    size: bytes = b"%x",
    last: bytes = b"0\r\n\r\n",
    start: bytes = OK,
) -> Make:
    """An answer in two chunks."""

    def make(body: bytes) -> bytes:
        head = [start, HTML, b"Transfer-Encoding: " + coding, *more, b"", b""]
        parts = [size % len(it) + b"\r\n" + it + b"\r\n" for it in (body[:99], body[99:])]
        return b"\r\n".join(head) + b"".join(parts) + last

    return make


def coded(label: bytes, encode: Callable[[bytes], bytes] = bytes) -> Make:
    """An answer whose body is encoded, if at all, and labelled."""

    def make(body: bytes) -> bytes:
        return plain(b"Content-Encoding: " + label)(encode(body))

    return make


class RawUpstream:
    """One project with one file. ``page`` and ``file`` make the answers; each ends a connection."""

    def __init__(self, wheel: Path) -> None:
        self.page: Make = plain()
        self.file: Make = plain()
        self.project = wheel.name.partition("-")[0]
        self.content = wheel.read_bytes()
        self.sha256 = hashlib.sha256(self.content).hexdigest()
        title = f"<title>Links for {self.project}</title>"
        self.listing = (
            f"<!DOCTYPE html><html><head>{title}</head><body>"
            f"<a href='/{wheel.name}#sha256={self.sha256}'>{wheel.name}</a></body></html>"
        ).encode()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.origin = f"http://127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            request = await reader.readuntil(b"\r\n\r\n")
            is_page = request.split()[1].endswith(b"/")
            writer.write(self.page(self.listing) if is_page else self.file(self.content))
            writer.write_eof()
            await reader.read()  # until the client has closed as well
        writer.close()
