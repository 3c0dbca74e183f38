"""Single entries of a stranger's manifest: what could do harm or makes no sense, in words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from proxy.bundle.archive.manifest import BundledFile, BundledPage
from proxy.errors import ConfigurationError
from proxy.model import METADATA, PROVENANCE, normalize
from proxy.simple.names import safe_filename
from proxy.simple.sanitize import clean_upload_time
from proxy.upstream.documents import UpstreamOrigin
from proxy.upstream.remote import fingerprint

_SHA256 = re.compile(r"[0-9a-f]{64}\Z")
_DIGEST = re.compile(r"-\Z|[0-9a-f]{64}\Z|[a-z0-9]{1,16}-[0-9a-f]{8,128}\Z")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What no header of HTTP may have (RFC 9110, section 5.5), nor a line on a terminal."""


def wrong_index(origin: UpstreamOrigin) -> Iterator[str]:
    try:
        fingerprint(origin.url, None)
    except ConfigurationError:
        yield f"an index is no address: {origin.url!r}"


def wrong_place(
    entry: BundledPage | BundledFile, indexes: Sequence[UpstreamOrigin]
) -> Iterator[str]:
    if entry.index >= len(indexes):
        yield "something is of an index that is not listed"
    try:
        right = normalize(entry.project) == entry.project
    except ValueError:
        right = False
    if not right:
        yield f"{entry.project!r} is not the name of a project"


def wrong_page(page: BundledPage) -> Iterator[str]:
    """What was said in headers is said to upstream again, and must not end one of ours."""
    if not page.url.startswith(("http://", "https://")):
        yield f"{page.url!r} is not the address of a page"
    for said in (page.url, page.content_type, page.etag or "", page.last_modified or ""):
        if _CONTROL.search(said):
            yield f"{said!r} was never in a header"


def wrong_file(file: BundledFile) -> Iterator[str]:
    if not safe_filename(file.filename):
        yield f"{file.filename!r} is not the name of a file"
    if not _DIGEST.match(file.digest):
        yield f"{file.digest!r} is not a digest"
    if file.uploaded is not None and clean_upload_time(file.uploaded) != file.uploaded:
        yield f"{file.uploaded!r} is not an upload-time"
    beside = file.filename.endswith((METADATA, PROVENANCE))
    if not beside and _SHA256.match(file.digest) and file.digest != file.sha256:
        yield f"{file.filename} has two digests"
