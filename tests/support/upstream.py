"""A real index on 127.0.0.1 that behaves like PyPI until a test tells it not to.

``python -m tests.support.upstream --dir DIR`` serves a folder of distributions.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import hashlib
import json
import ssl
from base64 import b64encode
from fnmatch import fnmatch
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self

from aiohttp import web
from multidict import CIMultiDict, CIMultiDictProxy
from packaging.utils import canonicalize_name

from tests.support.faults import Fault, Reply, select, send, spoil
from tests.support.listings import HTML, JSON, Listed, Shelf, listed
from tests.support.upstream_process import run_upstream_process

__all__ = ["Fault", "Request", "Upstream", "run_upstream_process"]

MODIFIED = "Tue, 02 Jan 2024 03:04:05 GMT"
_compress = lru_cache(maxsize=512)(lambda body: gzip.compress(body, 6, mtime=0))


class Request(NamedTuple):
    method: str
    path: str
    """With query, percent-encoded as it came."""
    headers: CIMultiDictProxy[str]


class Upstream:
    """An index and its files; set the attributes at any time, they count from the next request."""

    form: Literal["json", "html", "both"] = "both"
    content_type: str | None = None
    """Of project pages, whatever they are."""
    cache_control: str | None = "max-age=600, public"
    compress = True
    etags = True
    credentials: tuple[str, str] | None = None
    """User and password without which every answer is 401."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        latency: float = 0.0,
        rate: tuple[int, float] | None = None,
    ) -> None:
        """``latency`` in seconds before every answer; ``rate`` as in ``Fault``."""
        self.requests: list[Request] = []
        """All, but the one HEAD of the index itself by which a server looks if it is there."""
        self.probes: list[Request] = []
        self.shelf = Shelf()
        self.pages = self.shelf.pages
        self.page_keys = self.shelf.keys
        self.serials = self.shelf.serials
        self.documents: dict[str, bytes] = {}
        """Of its JSON API, by the path after ``/pypi/``."""
        self.page_headers: dict[str, str] = {}
        """For all pages, added last; an empty value removes the header."""
        self.port = 0
        self.address: str | None = None
        """The root of file links where it is not ``files_url``."""
        self._always = Fault(delay=latency, rate=rate)
        self._tls = tls
        self._faults: list[tuple[str, Fault, list[None] | None]] = []
        self._runner: web.AppRunner | None = None

    @property
    def origin(self) -> str:
        return f"{'https' if self._tls else 'http'}://127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"{self.origin}/simple/"

    @property
    def files_url(self) -> str:
        return f"{self.origin}/files/"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen; after ``stop``, on the same port again."""
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(
            app, access_log=None, handler_cancellation=True, shutdown_timeout=0.05
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port, ssl_context=self._tls)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop listening and end what hangs."""
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    def add(self, content: Path, **described: Any) -> Listed:
        """List the distribution, described as for ``listings.listed``.

        The same file name again replaces the file; the former bytes keep their address. The
        project's serial grows by one.
        """
        return self.shelf.add(listed(content, **described))

    def remove(self, filename: str) -> None:
        """Take the file off its page; its address answers 404 from now on."""
        self.shelf.remove(filename)

    def url_of(self, filename: str) -> str:
        return self.files_url + self.shelf.files[filename].path

    def fault(self, pattern: str, fault: Fault, times: int | None = None) -> None:
        """Answer requests whose path holds ``pattern`` (``*`` is a wildcard) with the fault.

        The first one that is not used up counts; ``times=None`` is for ever.
        """
        self._faults.append((pattern, fault, None if times is None else [None] * times))

    def heal(self) -> None:
        """No faults from now on."""
        self._faults.clear()

    def count(self, path: str = "", method: str | None = None) -> int:
        """How many requests had ``path`` in their path (and that method)."""
        return len(self.of(path, method))

    def of(self, path: str = "", method: str | None = None) -> list[Request]:
        return [each for each in self.requests if path in each.path and method in (None, each[0])]

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        headers = CIMultiDictProxy(CIMultiDict(request.headers))
        probe = request.method == "HEAD" and request.raw_path == "/simple/"
        seen = self.probes if probe else self.requests
        seen.append(Request(request.method, request.raw_path, headers))
        fault = self._fault_for(request.raw_path)
        await asyncio.sleep(fault.delay)
        if fault.hang:
            await (asyncio.Event() if fault.hang is True else fault.hang).wait()
        if fault.reset and request.transport:
            request.transport.abort()
            return web.Response()
        return await send(request, spoil(self._reply(request, fault), fault), fault)

    def _fault_for(self, path: str) -> Fault:
        for pattern, fault, left in self._faults:
            if left != [] and fnmatch(path, f"*{pattern}*"):
                if left:
                    left.pop()
                return fault
        return self._always

    def _reply(self, request: web.Request, fault: Fault) -> Reply:
        path = request.raw_path.partition("?")[0]
        if self.credentials and request.headers.get("Authorization") != self._authorization():
            return Reply(401, b"who?", {"WWW-Authenticate": 'Basic realm="pypi"'})
        if path.startswith("/simple"):
            return self._index(request, path.removeprefix("/simple").strip("/"), path)
        if path.startswith("/pypi/") and (found := self.documents.get(path[len("/pypi/") :])):
            return Reply(200, found, {"Content-Type": "application/json"})
        if path == "/-/requests":
            requested = [(each.method, each.path) for each in self.requests[:-1]]
            return Reply(200, json.dumps(requested).encode(), {"Content-Type": "application/json"})
        return self._file(request, path.removeprefix("/files/"), fault)

    def _authorization(self) -> str:
        assert self.credentials
        return "Basic " + b64encode(":".join(self.credentials).encode()).decode()

    def _index(self, request: web.Request, name: str, path: str) -> Reply:
        project = canonicalize_name(name)
        if path != (f"/simple/{project}/" if name else "/simple/"):
            return Reply(301, b"", {"Location": f"/simple/{project}/" if name else "/simple/"})
        media = self._media(request)
        page = self.shelf.page(project, media, self.address or self.files_url)
        body, media = page if name else self.shelf.list(media)
        if not media:
            return Reply(404, b"404 Not Found", {"Content-Type": "text/plain"})
        headers = {
            "Content-Type": self.content_type or media,
            "Vary": "Accept, Accept-Encoding",
            "Last-Modified": MODIFIED,
            "Cache-Control": self.cache_control or "",
            "X-PyPI-Last-Serial": str(self.serials.get(project) or ""),
        }
        if self.compress and "gzip" in request.headers.get("Accept-Encoding", ""):
            body, headers["Content-Encoding"] = _compress(body), "gzip"
        headers["ETag"] = _etag(body) if self.etags else ""
        return _conditional(request, Reply(200, body, headers | self.page_headers))

    def _media(self, request: web.Request) -> str:
        accept = request.headers.get("Accept", "")
        if self.form == "json" or (self.form == "both" and JSON in accept):
            return JSON
        return HTML if HTML in accept and self.form == "both" else "text/html"

    def _file(self, request: web.Request, path: str, fault: Fault) -> Reply:
        content = self.shelf.contents.get(path)
        if content is None:
            return Reply(404, b"404 Not Found", {"Content-Type": "text/plain"})
        etag = _etag(content if isinstance(content, bytes) else path.encode())
        headers = {
            "Content-Type": "application/octet-stream",
            "Cache-Control": "max-age=365000000, immutable, public",
            "Accept-Ranges": "bytes",
            "Last-Modified": MODIFIED,
            "ETag": etag if self.etags else "",
        }
        reply = _conditional(request, Reply(200, content, headers))
        return select(request, reply, etag) if reply.status == 200 and fault.ranges else reply


def _etag(body: bytes) -> str:
    return f'"{hashlib.sha256(body).hexdigest()[:32]}"'


def _conditional(request: web.Request, reply: Reply) -> Reply:
    etag = reply.headers.get("ETag")
    if etag and request.headers.get("If-None-Match") == etag:
        kept = {name: value for name, value in reply.headers.items() if "Content" not in name}
        return Reply(304, headers=kept)
    return reply


async def _serve(options: argparse.Namespace) -> None:
    rate = (int(options.bandwidth / 50) or 1, 0.02) if options.bandwidth else None
    upstream = Upstream(latency=options.latency_ms / 1000, rate=rate)
    upstream.port = options.port
    for content in sorted(options.dir.rglob("*")):
        if content.name.endswith((".whl", ".tar.gz", ".zip")):
            upstream.add(content)
    async with upstream:
        print(json.dumps({"url": upstream.url, "files_url": upstream.files_url}), flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dir", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--bandwidth", type=float, default=0.0, help="bytes per second and answer")
    asyncio.run(_serve(parser.parse_args()))
