"""``/pypi/<project>/json`` and ``/pypi/<project>/<version>/json``: PyPI's JSON API.

The project's page decides what there is, so that a document shows what the rules of the index
admit, and the newest release is the newest that can be installed. Other facts of an upstream, such
as vulnerabilities, are added if they are about the same bytes.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from collections.abc import Awaitable, Callable, Collection
from functools import partial

import msgspec
from aiohttp import web

from proxy.distributions import (
    DistributionKind,
    UnusableArchive,
    kind_of,
    read_sdist_metadata,
    read_wheel_metadata,
)
from proxy.errors import NotFound, StoreDamaged, StoreUnavailable, UpstreamError
from proxy.indexes import Index
from proxy.model import METADATA, File, ProjectName, ProjectPage, sources_of
from proxy.releases import (
    JsonDocument,
    ProjectRelease,
    completed,
    find_release,
    group_by_release,
    is_about,
    json_document,
    newest_release,
    parse_document,
)
from proxy.runtime import compress, run_in_worker
from proxy.simple import absolute_links, accepts_gzip
from proxy.web.conditional import not_modified
from proxy.web.pages import redirect
from proxy.web.refusals import index_address
from proxy.web.request_state import REQUEST_STATE, project_of
from proxy.web.response_cache import cache_control

MAX_VERSION = 128
"""Characters of a version that is asked for."""
MIN_COMPRESSED = 1000
"""Bytes of the smallest document that is compressed."""
COST_PER_FILE = 2000
"""The cost of one file of a document, in bytes of input as ``run_in_worker`` counts them."""

FindDocument = Callable[[Collection[str], ProjectName, str], Awaitable[bytes]]
"""The document of these indexes' upstreams about a project, or a version of it; empty without
one."""


async def no_document(sources: Collection[str], project: ProjectName, version: str) -> bytes:
    return b""


class NoSuchRelease(NotFound):
    def __str__(self) -> str:
        project, version = self.args
        what = f"release {version}" if version else "release that is shown"
        return f"project {project} has no {what}; +explain says why"


class ProjectJson:
    """Handler of the documents about the projects of one index."""

    def __init__(
        self,
        index: Index,
        find_document: FindDocument = no_document,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._index = index
        self._find_document = find_document
        self._clock = clock

    async def page(self, request: web.Request) -> web.Response:
        request[REQUEST_STATE].index = self._index.name
        project = project_of(request)
        version = request.match_info.get("version", "")[: MAX_VERSION + 1]
        if request.match_info["project"] != project:
            up = "../../" if version else "../"
            tail = request.rel_url.raw_path.split("/")[-2] + "/json" if version else "json"
            return redirect(request, f"{up}{project}/{tail}")
        page = await self._index.page(project)
        document = await self._document(page, version, index_address(request))
        return await self._respond(request, page, document)

    async def without_slash(self, request: web.Request) -> web.Response:
        return redirect(request, "../json")

    async def _document(self, page: ProjectPage, version: str, root: str) -> JsonDocument:
        """Raises ``NoSuchRelease``."""
        found = group_by_release(page.project, page.files)
        release = _chosen(found, version)
        if release is None:
            raise NoSuchRelease(page.project, version)
        links = absolute_links(f"{root}/")
        releases = None if version else found
        size = len(page.files) * COST_PER_FILE
        ours = await run_in_worker(
            size, lambda: json_document(page.project, release, links, None, releases)
        )
        for asked in ("", release.version) if not version else (release.version,):
            data = await self._find_document(sources_of(page), page.project, asked)
            if data and (found_more := await run_in_worker(len(data), partial(_more, ours, data))):
                return found_more
        metadata = await self._metadata(page.project, release)
        described = json_document(page.project, release, links, metadata)
        return {**ours, "info": described["info"]}

    async def _metadata(self, project: ProjectName, release: ProjectRelease) -> bytes | None:
        """Core metadata of the first file of the release that has some here."""
        for file in release.files:
            try:
                if data := await self._read_metadata(project, file):
                    return data
            except (NotFound, UpstreamError, StoreDamaged, StoreUnavailable):
                continue
            except (UnusableArchive, OSError):
                continue
        return None

    async def _read_metadata(self, project: ProjectName, file: File) -> bytes | None:
        name = file.filename + METADATA if file.metadata else file.filename
        blob = (await self._index.file(project, name, file.address_digest)).blob
        if file.metadata:
            return b"".join([piece async for piece in blob.chunks()])
        wheel = kind_of(file.filename) is DistributionKind.WHEEL
        read = read_wheel_metadata if wheel else read_sdist_metadata
        async with blob.as_file() as path:
            return await asyncio.to_thread(read, path, file.filename) if path else None

    async def _respond(
        self, request: web.Request, page: ProjectPage, document: JsonDocument
    ) -> web.Response:
        gzip = accepts_gzip(request.headers.get("Accept-Encoding"))
        body, packed = await run_in_worker(
            len(page.files) * COST_PER_FILE, lambda: _encoded(document, gzip)
        )
        not_after = math.inf if page.not_after is None else page.not_after
        control = cache_control(
            page.fresh_until, self._clock(), not_after, may_change=page.may_change
        )
        headers = {
            "ETag": f'"{hashlib.sha256(body).hexdigest()[:32]}"',
            # Addresses in the document have the host that this client has used.
            "Cache-Control": f"private, {control}",
            "Vary": "Accept-Encoding",
        }
        if not_modified(request.headers, headers["ETag"]):
            return web.Response(status=304, headers=headers)
        headers |= {"Content-Type": "application/json", "X-Content-Type-Options": "nosniff"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=body, headers=headers)


def _more(ours: JsonDocument, data: bytes) -> JsonDocument | None:
    """Our document with the other fields of upstream's, if that is about the same bytes."""
    theirs = parse_document(data)
    return completed(ours, theirs) if theirs and is_about(theirs, ours) else None


def _chosen(found: list[ProjectRelease], version: str) -> ProjectRelease | None:
    valid = [each for each in found if each.version]
    if version:
        return find_release(valid, version) if len(version) <= MAX_VERSION else None
    return newest_release(valid) if valid else None


def _encoded(document: JsonDocument, gzip: bool) -> tuple[bytes, bool]:
    body = msgspec.json.encode(document)
    if gzip and len(body) >= MIN_COMPRESSED:
        return compress(body), True
    return body, False
