"""Manifests and heads by strangers: read, and refused where they could do harm or make no sense.

Single entries of a stranger's manifest: what could do harm or makes no sense, in words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, TypeVar

import msgspec

from proxy.bundle.errors import BadBundle
from proxy.bundle.format import (
    BUNDLE_SCHEMA,
    FORMAT,
    BundledDocument,
    BundledFile,
    BundledPage,
    Head,
    Manifest,
    Member,
    encode,
    max_compressed,
    sha256,
)
from proxy.distributions import safe_filename
from proxy.errors import ConfigurationError
from proxy.model import METADATA, PROVENANCE, normalize
from proxy.simple import clean_upload_time
from proxy.upstream import UpstreamOrigin, fingerprint

T = TypeVar("T")

LARGEST_MANIFEST = 256 * 2**20
"""Bytes; enough for about half a million distributions."""
LARGEST_DOCUMENT = 256 * 2**20
"""Bytes of a page or provenance."""


class _Schema(msgspec.Struct):
    format: str
    schema: int


def read_head(data: bytes) -> Head:
    """Raises ``BadBundle``."""
    known = _decoded(data, _Schema, "head")
    if known.format != FORMAT:
        raise BadBundle("its head is that of something else")
    if known.schema != BUNDLE_SCHEMA:
        raise BadBundle(
            f"its schema is {known.schema}, and only {BUNDLE_SCHEMA} is known to this version"
        )
    head = _decoded(data, Head, "head")
    if encode(head) != data:
        raise BadBundle("its head is not written as it has to be")
    if head.manifest.size > LARGEST_MANIFEST or _swollen(head.manifest):
        raise BadBundle("its manifest is too large")
    return head


def read_manifest(data: bytes, expected: str | None = None) -> Manifest:
    """``expected`` is the sha256 it must have. Raises ``BadBundle``."""
    if expected is not None and sha256(data) != expected:
        raise BadBundle("its manifest is not the one that its head names")
    manifest = _decoded(data, Manifest, "manifest")
    if manifest.schema != BUNDLE_SCHEMA:
        raise BadBundle(f"its schema is {manifest.schema}, and only {BUNDLE_SCHEMA} is known here")
    for problem in _problems(manifest):
        raise BadBundle(f"its manifest is wrong: {problem}")
    return manifest


def _decoded(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        told = repr(str(error))[1:-1]  # it may quote what would do things to a terminal
        raise BadBundle(f"its {what} is wrong: {told}") from None


def _problems(manifest: Manifest) -> Iterator[str]:
    for origin in manifest.indexes:
        yield from wrong_index(origin)
    if len({origin.namespace for origin in manifest.indexes}) != len(manifest.indexes):
        yield "an index is there twice"
    for page in manifest.pages:
        yield from wrong_place(page, manifest.indexes)
        yield from wrong_page(page)
    for file in chain(manifest.provenance, manifest.files):
        yield from wrong_place(file, manifest.indexes)
        yield from wrong_file(file)
    if not all(each.filename.endswith(PROVENANCE) for each in manifest.provenance):
        yield "something listed as provenance is none"
    yield from _wrong_order(manifest)
    yield from _wrong_content(manifest)


def _wrong_order(manifest: Manifest) -> Iterator[str]:
    for entries in (manifest.pages, manifest.provenance, manifest.files):
        if not _ascending([each.key for each in entries]):
            yield "its entries are not in order"
    for members in (manifest.documents, manifest.blobs):
        if not _ascending([each.sha256 for each in members]):
            yield "its members are not in order"


def _wrong_content(manifest: Manifest) -> Iterator[str]:
    yield from _wrong_sizes([*manifest.pages, *manifest.provenance], manifest.documents, manifest)
    yield from _wrong_sizes(manifest.files, manifest.blobs, manifest)
    for document in manifest.documents:
        if document.size > LARGEST_DOCUMENT or _swollen(document):
            yield "a page is too large"


def _wrong_sizes(
    entries: Sequence[BundledPage | BundledFile],
    carried: Sequence[BundledDocument | Member],
    manifest: Manifest,
) -> Iterator[str]:
    """What is carried has to be listed with the same size; without a base, also the reverse."""
    listed = {each.sha256: each.size for each in entries}
    if any(listed[each.sha256] != each.size for each in entries):
        yield "something has two sizes"
    if any(listed.get(each.sha256) != each.size for each in carried):
        yield "it carries what it does not list"
    if manifest.base is None and len(carried) != len(listed):
        yield "it lists what it does not carry"


def _swollen(document: BundledDocument) -> bool:
    return document.packed.size > max_compressed(document.size)


def _ascending(keys: Sequence[Any]) -> bool:
    return all(one < other for one, other in pairwise(keys))


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
