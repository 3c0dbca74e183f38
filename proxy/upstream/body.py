"""One answer of upstream to a request for a file, as a download sees it. HTTP is in ``remote``."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager

import msgspec


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
