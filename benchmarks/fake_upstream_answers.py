"""The answers of the fake upstream to requests, and its counts. No sockets."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, unquote, urlsplit

from benchmarks.fake_content import HTML, JSON, Body, FakeContent


@dataclass(slots=True)
class State:
    content: FakeContent
    latency: float = 0.0
    rate: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    asked: Counter[str] = field(default_factory=Counter)
    """Wheels of the folder by name."""


@dataclass(frozen=True, slots=True)
class Request:
    method: str
    target: str
    headers: dict[str, str]


def parsed(head: bytes) -> Request:
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    pairs = (line.partition(":") for line in lines)
    return Request(method, target, {name.lower(): value.strip() for name, _, value in pairs})


def answer(state: State, request: Request) -> tuple[bytes, Body | None]:
    path = unquote(urlsplit(request.target).path)
    body = _found(state, path, request.headers)
    state.counts["requests"] += 1
    state.counts[_kind(path)] += 1
    if body is None:
        state.counts["missing"] += 1
        return _head("404 Not Found", {"Content-Length": "0"}), None
    headers = {"ETag": f'"{body.etag}"', "Content-Type": body.media, "Vary": "Accept"}
    headers["Cache-Control"] = "max-age=600, public"
    if request.headers.get("if-none-match") == headers["ETag"]:
        state.counts["not_modified"] += 1
        return _head("304 Not Modified", headers), None
    if body.gzipped:
        headers["Content-Encoding"] = "gzip"
    headers["Content-Length"] = str(body.size)
    state.counts["bytes"] += body.size
    return _head("200 OK", headers), body if request.method == "GET" else None


def _found(state: State, path: str, headers: dict[str, str]) -> Body | None:
    if path.startswith("/files/"):
        filename = path.rpartition("/")[2]
        if state.content.is_real(wheel := filename.removesuffix(".metadata")):
            state.asked[wheel] += 1
        return state.content.file(filename)
    project = path.removeprefix("/simple/").strip("/")
    media = JSON if JSON in headers.get("accept", "") else HTML
    return state.content.page(project, media, "gzip" in headers.get("accept-encoding", ""))


def _kind(path: str) -> str:
    if path.startswith("/simple/"):
        return "pages"
    return "metadata" if path.endswith(".metadata") else "files"


def control_answer(state: State, target: str) -> tuple[bytes, Body]:
    parts = urlsplit(target)
    wanted = dict(parse_qsl(parts.query))
    if parts.path == "/-/pace":
        state.latency, state.rate = float(wanted["latency"]), float(wanted["rate"])
    shown = state.asked if parts.path == "/-/asked" else state.counts
    body = Body("application/json", [json.dumps(shown).encode()], "")
    length = {"Content-Length": str(body.size), "Content-Type": body.media}
    return _head("200 OK", length), body


def _head(status: str, headers: dict[str, str]) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()
