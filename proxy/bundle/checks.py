"""Checks of heads and manifests, which may be hostile: what is harmful or inconsistent is refused.

Functions named ``…_problems`` yield each problem as text for the message of ``BadBundle``.
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
    FORMAT_NAME,
    BundledDocument,
    BundledFile,
    BundledPage,
    BundledRules,
    Head,
    Manifest,
    Member,
    encode,
    is_sha256,
    max_compressed,
    sha256,
)
from proxy.distributions import safe_filename
from proxy.errors import ConfigurationError
from proxy.model import PROVENANCE, SIBLING_SUFFIXES, normalize
from proxy.simple import clean_upload_time
from proxy.upstream import UpstreamOrigin, fingerprint

T = TypeVar("T")

MAX_MANIFEST_SIZE = 256 * 2**20
"""Bytes; enough for about half a million distributions."""
MAX_DOCUMENT_SIZE = 256 * 2**20
"""Bytes of a page or provenance."""


class _Schema(msgspec.Struct):
    format: str
    schema: int


def read_head(data: bytes) -> Head:
    """Raises ``BadBundle``."""
    known = _decode(data, _Schema, "head")
    if known.format != FORMAT_NAME:
        raise BadBundle("it has the format of something else")
    if known.schema != BUNDLE_SCHEMA:
        raise BadBundle(_unsupported(known.schema))
    head = _decode(data, Head, "head")
    if encode(head) != data:
        raise BadBundle("its head is not in canonical form")
    if head.manifest.size > MAX_MANIFEST_SIZE or _is_inflated(head.manifest):
        raise BadBundle("its manifest is too large")
    return head


def read_manifest(data: bytes, expected: str | None = None) -> Manifest:
    """``expected``: the sha256 that it must have. Raises ``BadBundle``."""
    if expected is not None and sha256(data) != expected:
        raise BadBundle("its manifest does not have the digest that its head names")
    manifest = _decode(data, Manifest, "manifest")
    if manifest.schema != BUNDLE_SCHEMA:
        raise BadBundle(_unsupported(manifest.schema))
    for problem in _manifest_problems(manifest):
        raise BadBundle(f"its manifest is invalid: {problem}")
    return manifest


def _unsupported(schema: int) -> str:
    return f"its schema is {schema}, and this version supports only {BUNDLE_SCHEMA}"


def _decode(data: bytes, kind: type[T], what: str) -> T:
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        text = repr(str(error))[1:-1]  # it may quote control characters
        raise BadBundle(f"its {what} is invalid: {text}") from None


def _manifest_problems(manifest: Manifest) -> Iterator[str]:
    for origin in manifest.indexes:
        yield from origin_problems(origin)
    if len({origin.namespace for origin in manifest.indexes}) != len(manifest.indexes):
        yield "it lists an index twice"
    for page in manifest.pages:
        yield from entry_problems(page, manifest.indexes)
        yield from page_problems(page)
    for file in chain(manifest.provenance, manifest.files):
        yield from entry_problems(file, manifest.indexes)
        yield from file_problems(file)
    if not all(each.filename.endswith(PROVENANCE) for each in manifest.provenance):
        yield "a file that it lists as provenance is none"
    if manifest.rules:
        yield from rules_problems(manifest.rules)
    yield from _order_problems(manifest)
    yield from _content_problems(manifest)


def _order_problems(manifest: Manifest) -> Iterator[str]:
    for entries in (manifest.pages, manifest.provenance, manifest.files):
        if not _is_strictly_sorted([each.key for each in entries]):
            yield "its entries are not sorted"
    for members in (manifest.documents, manifest.blobs):
        if not _is_strictly_sorted([each.sha256 for each in members]):
            yield "its members are not sorted"


def _content_problems(manifest: Manifest) -> Iterator[str]:
    yield from _size_problems([*manifest.pages, *manifest.provenance], manifest.documents, manifest)
    yield from _size_problems(manifest.files, manifest.blobs, manifest)
    for document in manifest.documents:
        if document.size > MAX_DOCUMENT_SIZE or _is_inflated(document):
            yield "a page or provenance is too large"


def _size_problems(
    entries: Sequence[BundledPage | BundledFile],
    carried: Sequence[BundledDocument | Member],
    manifest: Manifest,
) -> Iterator[str]:
    """Members must be listed, with the same size; without a base, all listed must be members."""
    listed = {each.sha256: each.size for each in entries}
    if any(listed[each.sha256] != each.size for each in entries):
        yield "it lists two sizes for one digest"
    if any(listed.get(each.sha256) != each.size for each in carried):
        yield "it contains a member that it does not list"
    if manifest.base is None and len(carried) != len(listed):
        yield "it lists content that it does not contain"


def _is_inflated(document: BundledDocument) -> bool:
    return document.packed.size > max_compressed(document.size)


def _is_strictly_sorted(keys: Sequence[Any]) -> bool:
    return all(one < other for one, other in pairwise(keys))


_ADDRESS_DIGEST = re.compile(r"-\Z|[0-9a-f]{64}\Z|[a-z0-9]{1,16}-[0-9a-f]{8,128}\Z")
_CONTROL_CHARACTER = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Not allowed in HTTP headers (RFC 9110, section 5.5), and harmful on a terminal."""


def origin_problems(origin: UpstreamOrigin) -> Iterator[str]:
    try:
        fingerprint(origin.url, None)
    except ConfigurationError:
        yield f"the address of an index is not valid: {origin.url!r}"


def entry_problems(
    entry: BundledPage | BundledFile, indexes: Sequence[UpstreamOrigin]
) -> Iterator[str]:
    if entry.index >= len(indexes):
        yield "it has an entry of an index that it does not list"
    try:
        normalized = normalize(entry.project) == entry.project
    except ValueError:
        normalized = False
    if not normalized:
        yield f"{entry.project!r} is not a normalized project name"


def rules_problems(rules: BundledRules) -> Iterator[str]:
    """These texts are shown to people: they must not control a terminal."""
    texts = [rules.index, *rules.policies]
    for each in rules.verdicts:
        texts += [each.project, each.filename, each.rule, each.kind, each.reason, each.exemption]
    for text in texts:
        if not text.isprintable():
            yield f"{text!r} cannot be shown"
    if not _is_strictly_sorted([each.key for each in rules.verdicts]):
        yield "its verdicts are not sorted"


def page_problems(page: BundledPage) -> Iterator[str]:
    """These texts are sent to upstream in headers again: they must not inject one."""
    if not page.url.startswith(("http://", "https://")):
        yield f"{page.url!r} is not the address of a page"
    for text in (page.url, page.content_type, page.etag or "", page.last_modified or ""):
        if _CONTROL_CHARACTER.search(text):
            yield f"{text!r} cannot be the value of a header"


def file_problems(file: BundledFile) -> Iterator[str]:
    if not safe_filename(file.filename):
        yield f"{file.filename!r} is not a valid file name"
    if not _ADDRESS_DIGEST.match(file.digest):
        yield f"{file.digest!r} is not a digest"
    if file.uploaded is not None and clean_upload_time(file.uploaded) != file.uploaded:
        yield f"{file.uploaded!r} is not an upload time"
    is_sibling = file.filename.endswith(SIBLING_SUFFIXES)
    if not is_sibling and is_sha256(file.digest) and file.digest != file.sha256:
        yield f"{file.filename} has two digests"
