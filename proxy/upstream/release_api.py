"""Requests the releases of repositories from GitHub's REST API, or another one that is like it."""

from __future__ import annotations

import time
from collections.abc import Callable
from urllib.parse import urlsplit

import msgspec

from proxy import late_pattern
from proxy.errors import UpstreamError
from proxy.upstream.content_coding import Undecodable, decoded
from proxy.upstream.headers import Headers, content_encoding, retry_after
from proxy.upstream.transport import Transport
from proxy.upstream.transport_errors import status_error

_API_HEADERS = {"Accept": "application/vnd.github+json", "Accept-Encoding": "gzip"}
_NEXT = late_pattern(r'<([^<>]*)>\s*;[^,<]*\brel="?next\b')
_SHOWS_NOTHING = frozenset({401, 403, 404})
"""The statuses of the API for a missing right; 404 hides that there is such a repository."""


class ApiPage(msgspec.Struct, frozen=True):
    """A part of the list of releases."""

    body: bytes | None
    """None: not modified."""
    etag: str | None
    following: str
    """The address of the next part; empty: this is the last."""


class ReleaseApi:
    def __init__(
        self,
        name: str,
        url: str,
        transport: Transport,
        *,
        page_limit: int = 64 * 2**20,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``name``: of the index. ``url``: the root of the API, with or without a slash.
        ``page_limit``: bytes of a part, decoded."""
        self._name = name
        self.root = url.rstrip("/")
        """Without a slash at its end."""
        self._transport = transport
        self._page_limit = page_limit
        self._clock = clock

    def first(self, repository: str) -> str:
        """The address of the first part."""
        return f"{self.root}/repos/{repository}/releases?per_page=100"

    async def page(self, url: str, etag: str | None = None) -> ApiPage:
        """One part; "not modified" only with an ``etag``. Raises ``UpstreamError``."""
        condition = {"If-None-Match": etag} if etag else {}
        answer, data = await self._transport.fetch(
            url, _API_HEADERS | condition, limit=self._page_limit, named_hosts_only=True
        )
        if answer.status == 304 and etag:
            return ApiPage(None, etag, "")
        if answer.status != 200:
            raise self._error(answer.status, answer.headers)
        try:
            body = await decoded(data, content_encoding(answer.headers), self._page_limit)
        except Undecodable as error:
            raise UpstreamError(self._name, f"its list of releases {error}") from None
        return ApiPage(body, answer.headers.get("ETag"), _following(url, answer.headers))

    def _error(self, status: int, headers: Headers) -> UpstreamError:
        """Never "no such project": a repository that may not be seen is not an empty one."""
        wait = retry_after(headers, self._clock())
        error = status_error(self._name, status, wait)
        if status in _SHOWS_NOTHING and wait is None:
            why = f"{error.reason}: is there such a repository, and may the token read it?"
            return UpstreamError(self._name, why)
        return error


def _following(url: str, headers: Headers) -> str:
    """The next part, at the address of the API whatever host the link names (RFC 8288).

    A server between may have another address than the API says of itself.
    """
    found = _NEXT.search(",".join(headers.getall("Link", [])))
    query = urlsplit(found[1]).query if found else ""
    return f"{url.partition('?')[0]}?{query}" if query else ""
