"""Answers of upstream as values: pages for the mirror, file bodies for downloads. No HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import msgspec


class Validators(msgspec.Struct, frozen=True):
    """Values for a conditional request (RFC 9110, section 13.1), exactly as upstream sent them."""

    etag: str | None = None
    last_modified: str | None = None
    serial: int | None = None
    """Of the stored page; not sent."""
    url: str = ""
    """The address that sent them; other addresses of the same content have other values."""

    @property
    def conditions(self) -> dict[str, str]:
        """The headers of the request."""
        wanted = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in wanted.items() if value}


class NotModified(msgspec.Struct, frozen=True):
    """The page whose validators were sent is unchanged (304)."""

    lifetime: float | None
    """Seconds from now for which the page is fresh; None: upstream named no lifetime."""
    must_revalidate: bool
    etag: str | None
    last_modified: str | None
    serial: int | None
    """PyPI's serial number of the last change."""


class UpstreamDocument(msgspec.Struct, frozen=True):
    """A page as upstream sent it, without content coding, not parsed."""

    body: bytes
    content_type: str
    url: str
    """The address after redirects; links are relative to it."""
    lifetime: float | None
    must_revalidate: bool
    """It must not be served stale."""
    storable: bool
    etag: str | None
    last_modified: str | None
    serial: int | None


class UpstreamOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An upstream index."""

    url: str
    """Without credentials."""
    namespace: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    """Part of the keys of its pages and files in a cache."""


class ProjectListAnswer(msgspec.Struct, frozen=True):
    """The list of all projects, as it arrives."""

    chunks: AsyncIterator[bytes]
    content_type: str
    encoding: str | None
    """As in ``Body``."""
    etag: str | None
    last_modified: str | None


class Body(msgspec.Struct, frozen=True):
    """The body of an answer to a request for a file."""

    chunks: AsyncIterator[bytes]
    """The bytes as they arrive, not decoded. Raises ``UpstreamError`` if the connection breaks."""
    total: int | None = None
    """Bytes of the whole file, also if the answer is a part."""
    start: int = 0
    """Offset of the first byte: 0 for the whole file (200), else that of the part (206)."""
    stop: int | None = None
    """Offset after the last byte of a part (206), which may be before the end of the file."""
    etag: str | None = None
    """A strong tag, with its quotes: it is sent back as ``If-Range``."""
    encoding: str | None = None
    """``Content-Encoding`` in lowercase; None: none, or ``identity``."""


ANY_TAG = "*"
"""In place of a tag: the rest of a file is requested without one, as its digest is known."""

Fetch = Callable[[int, str | None], AbstractAsyncContextManager[Body]]
"""Requests the bytes from an offset on; with an offset above 0 also the tag for ``If-Range``.

Entering raises ``UpstreamError``, or ``NoSuchFile`` if upstream has no such file.
"""
