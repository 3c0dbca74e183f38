"""How a fake server sends an answer: whole, in part, slowly, wrongly or not at all."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

from aiohttp import web

Content = bytes | Path
CHUNK = 256 * 1024
LOGIN_PAGE = b"<!DOCTYPE html><html><title>Sign in</title><body>Please sign in.</body></html>"


@dataclass(frozen=True)
class Fault:
    """What goes wrong with an answer; the parts combine. Counts are bytes of the body, from 0."""

    status: int | None = None
    """Without ``body``, the answer is a short HTML page that says so."""
    body: bytes | None = None
    """With status 200 unless ``status`` says otherwise, whether the path exists or not."""
    content_type: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    """Added last; an empty value removes the header."""
    redirect: str | None = None
    """The ``Location``; with status 302 unless ``status`` says otherwise."""
    delay: float = 0.0
    """Seconds before the headers."""
    hang: bool | asyncio.Event = False
    """No headers before the event is set, or ever."""
    reset: bool = False
    """The connection is reset instead of answered."""
    corrupt: bool = False
    """Every byte of the body is another one; the length is right."""
    truncate: int | None = None
    """The connection closes after so many bytes; resuming works once the fault is used up."""
    gate: asyncio.Event | None = None
    gate_at: int = 0
    """The body stops here until ``gate`` is set."""
    rate: tuple[int, float] | None = None
    """Bytes per write, and seconds of pause after each."""
    encoding: str | None = None
    """A ``Content-Encoding`` that only labels the raw bytes."""
    chunked: bool = False
    """No ``Content-Length``."""
    ranges: bool = True
    """False: ``Range`` is ignored."""


@dataclass
class Reply:
    """An answer before anything goes wrong with it."""

    status: int
    content: Content = b""
    headers: dict[str, str] = field(default_factory=dict)
    start: int = 0
    """Where in ``content`` the body begins; it goes to ``stop``."""
    stop: int | None = None

    @property
    def length(self) -> int:
        whole = len(self.content) if isinstance(self.content, bytes) else size(self.content)
        return (whole if self.stop is None else self.stop) - self.start

    def slices(self, step: int) -> Iterator[bytes]:
        if isinstance(self.content, bytes):
            body = self.content[self.start : self.start + self.length]
            yield from (body[at : at + step] for at in range(0, len(body), step))
            return
        with self.content.open("rb") as file:
            file.seek(self.start)
            left = self.length
            while left > 0 and (chunk := file.read(min(step, left))):
                left -= len(chunk)
                yield chunk


def size(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.stat().st_size


def select(request: web.Request, reply: Reply, etag: str) -> Reply:
    """The reply narrowed to the one range that was asked for (RFC 9110, section 14)."""
    asked = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("Range", ""))
    condition = request.headers.get("If-Range")
    if request.method != "GET" or not asked or not any(asked.groups()):
        return reply
    if condition not in (None, etag, reply.headers.get("Last-Modified")):
        return reply
    total, (first, last) = size(reply.content), asked.groups()
    start = int(first) if first else max(0, total - int(last))
    stop = min(total, int(last) + 1) if first and last else total
    if start >= total:
        return Reply(416, headers={"Content-Range": f"bytes */{total}"})
    headers = reply.headers | {"Content-Range": f"bytes {start}-{stop - 1}/{total}"}
    return replace(reply, status=206, headers=headers, start=start, stop=stop)


def spoil(reply: Reply, fault: Fault) -> Reply:
    """The reply with the fault's status, body and headers."""
    if fault.redirect is not None:
        reply = Reply(fault.status or 302, b"moved", {"Location": fault.redirect})
    elif fault.body is not None or fault.status is not None:
        status = fault.status or 200
        page = f"<html><h1>{status}</h1><p>internal-host-7 says no</p></html>".encode()
        reply = Reply(status, page if fault.body is None else fault.body)
        reply.headers["Content-Type"] = fault.content_type or "text/html"
    elif fault.content_type:
        reply.headers["Content-Type"] = fault.content_type
    if fault.encoding:
        reply.headers["Content-Encoding"] = fault.encoding
    merged = {**reply.headers, **fault.headers}
    reply.headers = {name: value for name, value in merged.items() if value}
    return reply


async def send(request: web.Request, reply: Reply, fault: Fault) -> web.StreamResponse:
    """Write the reply to the connection, as the fault has it."""
    response = web.StreamResponse(status=reply.status, headers=reply.headers)
    if fault.chunked:
        response.enable_chunked_encoding()
    elif reply.status != 304:
        response.content_length = reply.length
    await response.prepare(request)
    if request.method == "HEAD" or reply.status == 304:
        return response
    await _body(request, response, reply, fault)
    return response


async def _body(
    request: web.Request, response: web.StreamResponse, reply: Reply, fault: Fault
) -> None:
    step, pause = fault.rate or (CHUNK, 0.0)
    marks = [fault.truncate, fault.gate_at if fault.gate else None]
    for chunk, at in _stops(reply.slices(step), marks):
        if fault.gate and at == fault.gate_at:
            await fault.gate.wait()
        if at == fault.truncate and request.transport:
            request.transport.close()
            return
        if chunk:
            await response.write(bytes(byte ^ 0xFF for byte in chunk) if fault.corrupt else chunk)
        if pause:
            await asyncio.sleep(pause)
    await response.write_eof()


def _stops(chunks: Iterator[bytes], marks: list[int | None]) -> Iterator[tuple[bytes, int]]:
    """The chunks and where each starts, cut so that one starts at every mark."""
    at = 0
    for chunk in chunks:
        cuts = {mark - at for mark in marks if mark is not None and at < mark < at + len(chunk)}
        for first, last in pairwise([0, *sorted(cuts), len(chunk)]):
            yield chunk[first:last], at + first
        at += len(chunk)
    yield b"", at
