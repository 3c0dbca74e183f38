"""The files that pages load: one style, one script of ours, htmx, an icon; hashed and compressed.

``htmx.min.js`` is version 4.0.1 as its authors publish it (Zero-Clause BSD); ``HTMX_SHA256`` is the
digest of that file, which a test compares.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from proxy.runtime import compress

HTMX_SHA256 = "a0abb04f2f45a1f89d1d4844023245537e5e6014c87b144553e0607b4cc32130"
_STATIC_FOLDER = Path(__file__).with_name("static")
_TYPES = {
    "style.css": "text/css; charset=utf-8",
    "app-htmx.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
    "htmx.LICENSE.txt": "text/plain; charset=utf-8",
}


class Asset(msgspec.Struct, frozen=True):
    """A file that never changes under its address."""

    name: str
    digest: str
    """The first 12 digits of the sha256 of its bytes; a part of its address."""
    content_type: str
    body: bytes
    packed: bytes
    """The body compressed with gzip."""

    @property
    def path(self) -> str:
        """Below the folder of all assets; other bytes have another path."""
        return f"{self.digest}/{self.name}"


@cache
def assets() -> Mapping[str, Asset]:
    """All assets by name."""
    return {name: _asset(name, content_type) for name, content_type in _TYPES.items()}


def _asset(name: str, content_type: str) -> Asset:
    parts = ("htmx.min.js", "app.js") if name == "app-htmx.js" else (name,)  # one request
    body = b"\n".join(_STATIC_FOLDER.joinpath(part).read_bytes() for part in parts)
    digest = hashlib.sha256(body).hexdigest()[:12]
    return Asset(name, digest, content_type, body, compress(body))
