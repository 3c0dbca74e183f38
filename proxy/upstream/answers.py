"""What a mirror asks a ``Remote`` for and gets: values, no HTTP.

One answer of upstream to a request for a file, as a download sees it. HTTP is in ``remote``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Annotated

import msgspec


class Validators(msgspec.Struct, frozen=True):
    """What makes a request conditional (RFC 9110, section 13.1), exactly as upstream sent it."""

    etag: str | None = None
    last_modified: str | None = None

    @property
    def conditions(self) -> dict[str, str]:
        """As headers of a request."""
        wanted = {"If-None-Match": self.etag, "If-Modified-Since": self.last_modified}
        return {name: value for name, value in wanted.items() if value}


class NotModified(msgspec.Struct, frozen=True):
    """The page whose validators were sent is still right."""

    lifetime: float | None
    """Seconds from now for which upstream vouches for it; None: it did not say."""
    must_revalidate: bool
    etag: str | None
    last_modified: str | None
    serial: int | None
    """PyPI's number of the last change."""


class UpstreamDocument(msgspec.Struct, frozen=True):
    """A page as upstream sent it, content coding removed, unread otherwise."""

    body: bytes
    content_type: str
    url: str
    """Where it came from after redirects; its links are relative to this."""
    lifetime: float | None
    must_revalidate: bool
    """It must not be given once its lifetime is over."""
    storable: bool
    etag: str | None
    last_modified: str | None
    serial: int | None


class UpstreamOrigin(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An upstream index."""

    url: str
    """Without credentials."""
    namespace: Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{16}\Z")]
    """What keys its pages and files in a cache."""


class Body(msgspec.Struct, frozen=True):
    """An answer whose headers are here and whose bytes are arriving."""

    chunks: AsyncIterator[bytes]
    """As they come, never decoded. Raises ``UpstreamError`` where the connection breaks."""
    total: int | None = None
    """Bytes of the complete representation, also where only a part of it was asked for."""
    start: int = 0
    """Offset of the first byte: 0 for the whole (200), else that of the part (206)."""
    stop: int | None = None
    """Where a part (206) ends, which may be before the end of the file."""
    etag: str | None = None
    """Strong ones only, quotes included: it is sent back as ``If-Range``."""
    encoding: str | None = None
    """``Content-Encoding`` in lowercase; None: none, or ``identity``."""


Fetch = Callable[[int, str | None], AbstractAsyncContextManager[Body]]
"""Asks for the bytes from an offset on; with an offset above 0 also the tag for ``If-Range``.

Entering raises ``UpstreamError``, or ``NoSuchFile`` where upstream says that there is none.
"""
