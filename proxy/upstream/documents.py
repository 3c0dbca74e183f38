"""What a mirror asks a ``Remote`` for and gets: values, no HTTP."""

from __future__ import annotations

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
