"""Files and their siblings: what a client gets of an artifact, and how it is sent."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import aclosing
from email.utils import format_datetime

from aiohttp import web

from proxy.distributions import safe_filename
from proxy.errors import NoSuchFile
from proxy.events import Outcome
from proxy.indexes import Index
from proxy.model import PROVENANCE, Artifact, Blob, Span
from proxy.web.access_log import HANDLED_KEY
from proxy.web.conditional import RangeResult, evaluate
from proxy.web.pages import project_of
from proxy.web.response_cache import CACHEABLE, Cacheable, ChangeCounter, no_changes
from proxy.web.sendfile import FileSender, can_send

_DIGEST = re.compile(r"(?:[0-9a-f]{64}|[a-z0-9]{1,16}-[0-9a-f]{1,128}|-)\Z", re.ASCII)
SMALL_FILE = 64 * 1024
"""Bytes of a file that is sent from memory."""
IMMUTABLE = "public, max-age=31536000, immutable"
REVALIDATE = "public, max-age=600"
NO_BODY = (304, 412, 416)
CHANGES_KEY = web.RequestKey("changes", int)
"""How often the page had changed before the file was looked for on it."""


class FileHandler:
    """Handler of ``/files/<project>/<digest>/<filename>`` for one index."""

    def __init__(self, index: Index, changes: ChangeCounter = no_changes) -> None:
        """``changes``: see ``FinishedAnswers``."""
        self._index = index
        self._changes = changes

    async def file(self, request: web.Request) -> web.StreamResponse:
        project = project_of(request)
        digest, filename = request.match_info["digest"], request.match_info["filename"]
        if not _DIGEST.match(digest) or not safe_filename(filename):
            raise NoSuchFile(project, "of that name")
        request[CHANGES_KEY] = self._changes(project)
        artifact = await self._index.file(project, filename, digest)
        size = await _size(request, artifact.blob)
        headers = _headers(artifact, digest)
        if size is None:  # nobody knows: no ranges, and the end shows in the chunked coding
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
        whole = spans is not None or not blob.needs_download  # such give no half of a little
        if whole and chosen and chosen.status == 200 and chosen.stop <= SMALL_FILE:
            return await self._at_once(request, artifact, headers)
        if chosen and spans is not None and can_send(request.transport):
            # A task of its own, as each turn would go through all the frames above this one.
            await asyncio.create_task(_send_from_file(request, response, spans))
        else:
            await _send_pieces(request, response, blob, at, stop)
        return response

    async def _at_once(
        self, request: web.Request, artifact: Artifact, headers: dict[str, str]
    ) -> web.Response:
        """A small file, as a whole: it may be given again as long as its page lists it."""
        body = b"".join([piece async for piece in artifact.blob.chunks()])
        response = web.Response(body=body, headers=headers)
        outcome = request[HANDLED_KEY].outcome
        if headers.get("ETag") and not artifact.file.filename.endswith(PROVENANCE):
            local = outcome is Outcome.LOCAL
            response[CACHEABLE] = Cacheable(
                project_of(request),
                Outcome.LOCAL if local else Outcome.HIT,
                request[CHANGES_KEY],
                key="" if local else artifact.file.sha256 or "",
            )
        return response


async def _size(request: web.Request, blob: Blob) -> int | None:
    """To say how long a file is, it need not be fetched; to send it, only its sender knows."""
    if request.method == "HEAD":
        return await blob.size_without_download()
    return await blob.length()


async def _send_pieces(
    request: web.Request, response: web.StreamResponse, blob: Blob, start: int, stop: int | None
) -> None:
    async with aclosing(blob.chunks(start, stop)) as pieces:
        # The head goes out after the first piece has come: until then an error can be told.
        first = await anext(pieces, b"")
        await response.prepare(request)
        await response.write(first)
        request[HANDLED_KEY].sent += len(first)
        async for piece in pieces:
            await response.write(piece)
            request[HANDLED_KEY].sent += len(piece)


async def _send_from_file(
    request: web.Request,
    response: web.StreamResponse,
    spans: AsyncGenerator[Span | bytes, None],
) -> None:
    assert request.transport
    sending: FileSender | None = None
    try:
        async for span in spans:
            if sending is None:  # until now an error could be told
                await response.prepare(request)
                sending = FileSender(request.transport, request[HANDLED_KEY])
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
    headers = {
        "Content-Type": "application/json" if provenance else "application/octet-stream",
        "Cache-Control": REVALIDATE if provenance or digest == "-" else IMMUTABLE,
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
