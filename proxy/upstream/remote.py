"""Remote: requests pages and files of one upstream index, and interprets the answers.

It stores nothing: the mirror stores pages, downloads store files.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import re
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import msgspec

from proxy.errors import (
    ConfigurationError,
    GoneUpstream,
    NoSuchProject,
    RefusedByUpstreamRule,
    UnreadablePage,
    UpstreamError,
    UpstreamTimeout,
)
from proxy.model import ProjectName
from proxy.upstream.address_rules import origin_of
from proxy.upstream.answers import (
    ANY_TAG,
    Body,
    NotModified,
    ProjectListAnswer,
    UpstreamDocument,
    Validators,
)
from proxy.upstream.content_coding import Undecodable, decoded
from proxy.upstream.credentials import Credentials, mask, without_userinfo
from proxy.upstream.headers import (
    CacheLifetime,
    cache_lifetime,
    content_encoding,
    content_length,
    content_range,
    is_strong_tag,
    last_serial,
    retry_after,
    same_tag,
)
from proxy.upstream.transport import PAGE_ACCEPT, Transport, UpstreamAnswer
from proxy.upstream.transport_errors import RedirectRefused, status_error

__all__ = ["NotModified", "Remote", "UpstreamDocument", "Validators"]

log = logging.getLogger(__name__)

_PAGE_REQUEST_HEADERS = {"Accept": PAGE_ACCEPT, "Accept-Encoding": "gzip"}
_DOCUMENT_HEADERS = {"Accept": "application/json", "Accept-Encoding": "gzip"}
_RULE = re.compile(r"[a-z0-9-]{1,63}", re.ASCII)
_REASON = re.compile(r"Refused by rule [a-z0-9-]{1,63}: ([\x20-\x7e]{1,150})", re.ASCII)
"""In the reason phrase of a Waystation."""
_MISSING_STATUSES = frozenset({404, 410})


class Remote:
    """One upstream. An answer that is neither a result nor a clear "not found" is an error."""

    def __init__(
        self,
        name: str,
        url: str,
        transport: Transport,
        *,
        missing_statuses: frozenset[int] = _MISSING_STATUSES,
        file_type: str = "*/*",
        page_limit: int = 64 * 2**20,
        parallel_pages: int = 32,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``url``: the index, with or without the last slash. ``file_type``: requested of files.

        ``missing_statuses``: upstream's answers for a project that it does not have.
        ``page_limit``: bytes of a page, decoded. ``parallel_pages``: page requests at a time.
        Raises ``ConfigurationError``.
        """
        self.name = name
        self.url = _index_url(url)
        self.fingerprint = fingerprint(self.url, transport.credentials)
        """Part of the keys of stored pages and files; see ``fingerprint``."""
        self._transport = transport
        self._missing = missing_statuses
        self._file_headers = {"Accept": file_type, "Accept-Encoding": "identity"}
        self._page_limit = page_limit
        self._page_slots = asyncio.Semaphore(parallel_pages)
        self._clock = clock

    def allows(self, origin: str) -> bool:
        """Whether a page's links to ``scheme://host:port`` may be fetched."""
        return self._transport.allows(origin)

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> UpstreamDocument | NotModified:
        """The project's page. Raises ``NoSuchProject``, ``UnreadablePage``, ``UpstreamError``."""
        conditions = validators.conditions if validators else {}
        async with self._page_slots:
            answer, data = await self._transport.fetch(
                f"{self.url}{project}/",
                _PAGE_REQUEST_HEADERS | conditions,
                limit=self._page_limit,
                named_hosts_only=True,
            )
            if answer.status == 200:
                return await self._document(answer, data)
        if answer.status in self._missing:
            raise NoSuchProject(project)
        if answer.status != 304 or not conditions:
            raise self._unexpected(answer)
        etag = answer.headers.get("ETag")
        if validators and validators.etag and etag and not same_tag(etag, validators.etag):
            return await self.page(project)  # the 304 is about another page than the stored one
        return NotModified(**_page_facts(answer, cache_lifetime(answer.headers, self._clock())))

    async def project_document(self, project: ProjectName, version: str = "") -> bytes | None:
        """See ``RemoteIndex``: at ``pypi/…`` beside an index at ``simple/``."""
        if not self.url.endswith("/simple/"):
            return None
        parts = (project, quote(version, safe="!+"), "json")
        address = f"{self.url.removesuffix('simple/')}pypi/{'/'.join(filter(None, parts))}"
        async with self._page_slots:
            answer, data = await self._transport.fetch(
                address, _DOCUMENT_HEADERS, limit=self._page_limit, named_hosts_only=True
            )
        if answer.status in self._missing:
            return None
        if answer.status != 200:
            raise self._unexpected(answer)
        try:
            return await decoded(data, content_encoding(answer.headers), self._page_limit)
        except Undecodable as error:
            raise UpstreamError(self.name, f"its document {error}") from None

    @asynccontextmanager
    async def project_list(
        self, validators: Validators | None
    ) -> AsyncIterator[ProjectListAnswer | None]:
        """The list of all projects; None: not modified. Raises ``UpstreamError``."""
        conditions = validators.conditions if validators else {}
        async with self._transport.stream(self.url, _PAGE_REQUEST_HEADERS | conditions) as (
            answer,
            chunks,
        ):
            if answer.status == 304 and conditions:
                yield None
            elif answer.status == 200:
                headers = answer.headers
                yield ProjectListAnswer(
                    chunks,
                    headers.get("Content-Type", ""),
                    content_encoding(headers),
                    headers.get("ETag"),
                    headers.get("Last-Modified"),
                )
            else:
                raise self._unexpected(answer)

    async def size(self, url: str) -> int | None:
        """Bytes of a file; None if upstream names no length.

        If the answer to HEAD has no length, a GET requests one byte: links may be signed for
        GET only. Raises ``GoneUpstream`` and ``UpstreamError``.
        """
        try:
            answer, _ = await self._transport.fetch(url, self._file_headers, limit=0, method="HEAD")
        except (UpstreamTimeout, RedirectRefused):
            raise
        except UpstreamError as error:
            log.debug("no answer to HEAD: %s", error)
        else:
            size = content_length(answer.headers)
            coded = content_encoding(answer.headers)
            if answer.status == 200 and not coded and size is not None:
                return size
        async with self._transport.stream(url, {**self._file_headers, "Range": "bytes=0-0"}) as (
            answer,
            chunks,
        ):
            body = self._body(answer, chunks, 0, None)
            if body is None:
                raise self._unexpected(answer)
            return None if body.encoding else body.total

    async def read(self, url: str, limit: int) -> bytes:
        """A small file, at most ``limit`` bytes. Raises ``GoneUpstream`` and ``UpstreamError``."""
        answer, data = await self._transport.fetch(url, self._file_headers, limit=limit)
        if answer.status != 200:
            raise self._unexpected(answer)
        try:
            return await decoded(data, content_encoding(answer.headers), limit)
        except Undecodable as error:
            raise UpstreamError(self.name, f"the file {error}") from None

    @asynccontextmanager
    async def open(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AsyncIterator[Body]:
        """A file as it arrives, its bytes exactly as upstream sends them.

        The body starts at ``start`` if upstream still has the file with that ``etag``, which has
        to be a strong one, or ``ANY_TAG``; otherwise it starts at 0. After an answer that cannot
        be used, the file is requested once more without a range. Raises ``GoneUpstream`` and
        ``UpstreamError``, the latter also from the chunks.
        """
        condition = is_strong_tag(etag) if start else None
        part = {"Range": f"bytes={start}-"} if start and (condition or etag == ANY_TAG) else {}
        if condition:
            part["If-Range"] = condition
        async with self._transport.stream(url, {**self._file_headers, **part}) as (answer, chunks):
            body = self._body(answer, chunks, start if part else 0, condition)
            if body is not None:
                yield body
                return
            if not part:
                raise self._unexpected(answer)
        async with self.open(url) as body:
            yield body

    def _body(
        self,
        answer: UpstreamAnswer,
        chunks: AsyncIterator[bytes],
        start: int,
        condition: str | None,
    ) -> Body | None:
        """The usable part of the answer to a request for the bytes from ``start`` on, if any."""
        etag = is_strong_tag(answer.headers.get("ETag"))
        encoding = content_encoding(answer.headers)
        if answer.status == 200:
            total = content_length(answer.headers)
            return Body(chunks, total=total, etag=etag, encoding=encoding)
        found = content_range(answer.headers) if answer.status == 206 else None
        if found is None or encoding or (condition and etag not in (condition, None)):
            return None
        first, last, total = found
        if not first <= start <= last:
            return None
        part = _part(chunks, start - first, last + 1 - start)
        return Body(part, total=total, start=start, stop=last + 1, etag=etag)

    async def _document(self, answer: UpstreamAnswer, data: bytes) -> UpstreamDocument:
        coding = content_encoding(answer.headers)
        try:
            body = await decoded(data, coding, self._page_limit) if coding else data
        except Undecodable as error:
            raise UnreadablePage(self.name, f"its page {error}") from None
        content_type = answer.headers.get("Content-Type", "")
        grant = cache_lifetime(answer.headers, self._clock())
        facts = _page_facts(answer, grant)
        return UpstreamDocument(body, content_type, answer.url, storable=grant.storable, **facts)

    def _unexpected(self, answer: UpstreamAnswer) -> GoneUpstream | UpstreamError:
        if answer.status in _MISSING_STATUSES:
            return GoneUpstream(self.name)
        rule = answer.headers.get("Waystation-Rule", "")
        if answer.status == 403 and _RULE.fullmatch(rule):
            found = _REASON.fullmatch(answer.phrase)
            return RefusedByUpstreamRule(self.name, rule, found[1] if found else "")
        wait = retry_after(answer.headers, self._clock())
        return status_error(self.name, answer.status, wait)


async def _part(chunks: AsyncIterator[bytes], skip: int, size: int) -> AsyncIterator[bytes]:
    """The ``size`` bytes after the first ``skip``."""
    async for chunk in chunks:
        wanted = chunk[skip : skip + size]
        skip -= min(skip, len(chunk))
        size -= len(wanted)
        if wanted:
            yield wanted
        if not size:
            return


def _page_facts(answer: UpstreamAnswer, grant: CacheLifetime) -> dict[str, Any]:
    return {
        "lifetime": grant.lifetime,
        "must_revalidate": grant.must_revalidate,
        "etag": answer.headers.get("ETag"),
        "last_modified": answer.headers.get("Last-Modified"),
        "serial": last_serial(answer.headers),
    }


def _index_url(url: str) -> str:
    try:
        origin_of(url)
    except ValueError as error:
        raise ConfigurationError("url", f"{mask(url)} {error}", "use https://host/path/") from None
    if without_userinfo(url) != url or "?" in url or "#" in url:
        raise ConfigurationError("url", f"{mask(url)} has more than scheme, host and path")
    return url if url.endswith("/") else url + "/"


def fingerprint(url: str, credentials: Credentials | None) -> str:
    """Part of the keys of all that is stored of an index: differs by address and user.

    The password is left out: many are renewed every few hours, for the same user.
    """
    known = [_index_url(url), credentials.user if credentials else ""]
    return hashlib.sha256(msgspec.json.encode(known)).hexdigest()[:16]
