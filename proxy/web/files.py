"""Files and their siblings: the response for an artifact, and how its bytes are sent."""

from __future__ import annotations

import asyncio
import math
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.utils import format_datetime
from string import punctuation
from urllib.parse import quote_from_bytes

import msgspec
from aiohttp import web

from proxy.distributions import safe_filename
from proxy.errors import NoSuchFile
from proxy.events import Outcome
from proxy.indexes import Index
from proxy.model import (
    EXTRA_SUFFIXES,
    PROVENANCE,
    SIGNATURE,
    Artifact,
    Blob,
    Span,
    distribution_of,
)
from proxy.upstream import NotStored, ask_no_upstream
from proxy.web.conditional import RangeResult, evaluate
from proxy.web.request_state import REQUEST_STATE, project_of
from proxy.web.response_cache import CACHEABLE, Cacheable, ResponseCache
from proxy.web.sendfile import FileSender, can_send

_PATH_DIGEST = re.compile(r"(?:[0-9a-f]{64}|[a-z0-9]{1,16}-[0-9a-f]{1,128}|-)\Z", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}\Z", re.ASCII)
SMALL_FILE = 64 * 1024
"""Bytes of a file that is sent from memory."""
IMMUTABLE = "max-age=31536000, immutable"
REVALIDATE = "max-age=600"
NO_BODY = (304, 412, 416)


class FileHandler:
    """Handler of ``/files/<project>/<digest>/<filename>`` for one index."""

    def __init__(self, index: Index, cache: ResponseCache) -> None:
        self._index = index
        self._cache = cache

    async def file(self, request: web.Request) -> web.StreamResponse:
        state = request[REQUEST_STATE]
        state.index = self._index.name
        project = project_of(request)
        digest, filename = request.match_info["digest"], request.match_info["filename"]
        if not _PATH_DIGEST.match(digest) or not safe_filename(filename):
            raise NoSuchFile(project, "of that name")
        state.changes = self._cache.changes(project)
        artifact = await self._index.file(project, filename, digest)
        return await self.answer(request, artifact, digest)

    async def stored(self, request: web.Request) -> web.StreamResponse:
        """Handler of ``/-/blobs/<sha256>/<project>/<filename>``: what a peer gets at once.

        That is a file of a mirror, stored, that the peer could read at its usual address.
        """
        state = request[REQUEST_STATE]
        state.index = self._index.name
        project = project_of(request)
        digest, filename = request.match_info["digest"], request.match_info["filename"]
        is_sibling = distribution_of(filename) != filename
        if not _SHA256.match(digest) or not safe_filename(filename) or is_sibling:
            raise NotStored
        state.changes = self._cache.changes(project)
        ask_no_upstream()
        artifact = await self._index.file(project, filename, digest)
        if state.outcome is Outcome.LOCAL or artifact.blob.needs_download:
            raise NotStored
        return await self.answer(request, msgspec.structs.replace(artifact, location=""), digest)

    async def answer(
        self, request: web.Request, artifact: Artifact, digest: str
    ) -> web.StreamResponse:
        """The answer for an artifact. ``digest`` is in its address; "-": the address has none."""
        request[REQUEST_STATE].observed = artifact.observed
        if artifact.location and _may_redirect(request, artifact.blob):
            return _redirect(artifact.location)
        size = await _size(request, artifact.blob)
        headers = _headers(artifact, digest)
        if size is None:  # no ranges, and the chunked coding marks the end
            return await self._send(request, artifact, headers, None)
        etag, modified = headers.get("ETag"), artifact.file.uploaded_at
        chosen = evaluate(request.method, request.headers, size, etag, modified)
        headers["Accept-Ranges"] = "bytes"
        return await self._answer(request, artifact, headers, chosen, size)

    async def _answer(
        self,
        request: web.Request,
        artifact: Artifact,
        headers: dict[str, str],
        chosen: RangeResult,
        size: int,
    ) -> web.StreamResponse:
        if chosen.status == 206:
            headers["Content-Range"] = f"bytes {chosen.start}-{chosen.stop - 1}/{size}"
        if chosen.status == 416:
            headers["Content-Range"] = f"bytes */{size}"
        if chosen.status in NO_BODY:
            headers.pop("Content-Type", None)
            return web.Response(status=chosen.status, headers=headers)
        return await self._send(request, artifact, headers, chosen)

    async def _send(
        self,
        request: web.Request,
        artifact: Artifact,
        headers: dict[str, str],
        chosen: RangeResult | None,
    ) -> web.StreamResponse:
        response = web.StreamResponse(status=chosen.status if chosen else 200, headers=headers)
        if chosen:
            response.content_length = chosen.stop - chosen.start
        if request.method == "HEAD":
            await response.prepare(request)
            return response
        blob = artifact.blob
        at, stop = (chosen.start, chosen.stop) if chosen else (0, None)
        spans = blob.spans(at, stop)
        whole = spans is not None or not blob.needs_download  # these never break off
        if whole and chosen and chosen.status == 200 and chosen.stop <= SMALL_FILE:
            return await self._send_small(request, artifact, headers)
        if chosen and spans is not None and can_send(request.transport):
            # A task of its own, as each turn would go through all the frames above this one.
            await asyncio.create_task(_send_from_file(request, response, spans))
        else:
            await _send_pieces(request, response, blob, at, stop)
        return response

    async def _send_small(
        self, request: web.Request, artifact: Artifact, headers: dict[str, str]
    ) -> web.Response:
        """A small file from memory: the response may be repeated as long as its page lists it."""
        body = b"".join([piece async for piece in artifact.blob.chunks()])
        response = web.Response(body=body, headers=headers)
        state = request[REQUEST_STATE]
        if headers.get("ETag") and not artifact.file.filename.endswith(PROVENANCE):
            assert state.project
            local = state.outcome is Outcome.LOCAL
            response[CACHEABLE] = Cacheable(
                self._index.name,
                state.project,
                Outcome.LOCAL if local else Outcome.HIT,
                state.changes,
                not_after=math.inf if artifact.not_after is None else artifact.not_after,
                stored_file="" if local else artifact.file.sha256 or "",
            )
        return response


def _content_type(filename: str) -> str:
    if filename.endswith(SIGNATURE):
        return "application/pgp-signature"
    return "application/json" if filename.endswith(PROVENANCE) else "application/octet-stream"


def _may_redirect(request: web.Request, blob: Blob) -> bool:
    """The address of a stored file is signed, for GET alone, and works for all that have it: so
    only clients without credentials get it, for files that every client may read."""
    if blob.needs_download:
        return True
    return request.method == "GET" and request[REQUEST_STATE].principal is None


def _redirect(location: str) -> web.Response:
    """To another address, in ASCII. Not stored: the next answer may be another one."""
    target = quote_from_bytes(location.encode("utf-8", "surrogateescape"), safe=punctuation)
    return web.Response(status=302, headers={"Location": target, "Cache-Control": "no-store"})


async def _size(request: web.Request, blob: Blob) -> int | None:
    """Bytes, if known. HEAD takes the size that the page announces, so that nothing is fetched."""
    if request.method == "HEAD":
        return await blob.size_without_download()
    return await blob.length()


async def _send_pieces(
    request: web.Request, response: web.StreamResponse, blob: Blob, start: int, stop: int | None
) -> None:
    async with aclosing(blob.chunks(start, stop)) as pieces:
        # The head is sent after the first piece has come: until then an error has its status.
        first = await anext(pieces, b"")
        await response.prepare(request)
        await response.write(first)
        request[REQUEST_STATE].sent += len(first)
        async for piece in pieces:
            await response.write(piece)
            request[REQUEST_STATE].sent += len(piece)


async def _send_from_file(
    request: web.Request,
    response: web.StreamResponse,
    spans: AsyncGenerator[Span | bytes, None],
) -> None:
    assert request.transport
    sending: FileSender | None = None
    try:
        async for span in spans:
            if sending is None:  # until now an error could have its status
                await response.prepare(request)
                sending = FileSender(request.transport, request[REQUEST_STATE])
                await sending.flushed()
            if isinstance(span, Span):
                await sending.send(span)
            else:
                await sending.send_bytes(span)
    finally:
        await spans.aclose()
        if sending:
            sending.close()


def _headers(artifact: Artifact, digest: str) -> dict[str, str]:
    file = artifact.file
    provenance = file.filename.endswith(PROVENANCE)
    may_change = provenance or digest == "-" or file.filename.endswith(EXTRA_SUFFIXES)
    lifetime = REVALIDATE if may_change else IMMUTABLE
    headers = {
        "Content-Type": _content_type(file.filename),
        "Cache-Control": f"{'private' if artifact.private else 'public'}, {lifetime}",
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'; sandbox",
    }
    if (tag := file.address_digest) != "-":
        headers["ETag"] = f'"{tag}"' if "-" in tag else f'"sha256-{tag}"'
    if file.uploaded_at:
        headers["Last-Modified"] = format_datetime(
            file.uploaded_at.replace(microsecond=0), usegmt=True
        )
    return headers
