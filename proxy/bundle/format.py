"""The format of bundles: manifest (JSON), archive (POSIX ustar) and compression (zstd, RFC 8878).

Values only; ``checks`` says which manifests are accepted. A reader needs no tar parser: the
manifest determines every header, and headers are compared byte by byte. So no link, device,
owner or path of a hostile archive has any effect.
"""

from __future__ import annotations

import hashlib
import re
import sys
import tarfile
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated, Literal

import msgspec

from proxy.storage import StoredPage
from proxy.upstream import UpstreamOrigin

FORMAT_NAME = "waystation-bundle"
BUNDLE_SCHEMA = 1

_SHA256 = r"\A[0-9a-f]{64}\Z"
Sha256Text = Annotated[str, msgspec.Meta(pattern=_SHA256)]
is_sha256 = re.compile(_SHA256).match
"""Whether an address digest is a sha256, and not another algorithm's or none."""
Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""Bytes."""
UnixTime = Annotated[float, msgspec.Meta(ge=0, lt=253402300800)]
"""Unix time in seconds, up to the year 9999, the last that ``datetime`` has."""


class ManifestStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of the manifest or head. Its fields are the format: schema 1 has exactly these."""


class BundledPage(ManifestStruct, frozen=True, kw_only=True, gc=False):
    """A page as upstream sent it, with those fields of ``StoredPage`` that fit any cache."""

    index: Size
    """Position in ``Manifest.indexes``."""
    project: str
    sha256: Sha256Text
    size: Size
    url: str
    content_type: str
    checked: UnixTime
    lifetime: float | None
    must_revalidate: bool
    etag: str | None
    last_modified: str | None
    serial: int | None

    @property
    def key(self) -> tuple[int, str]:
        return self.index, self.project

    def to_stored_page(self) -> StoredPage:
        return StoredPage(
            url=self.url,
            content_type=self.content_type,
            checked=self.checked,
            lifetime=self.lifetime,
            must_revalidate=self.must_revalidate,
            etag=self.etag,
            last_modified=self.last_modified,
            serial=self.serial,
            digest=self.sha256,
        )


class BundledFile(ManifestStruct, frozen=True, kw_only=True, gc=False):
    """A cached file: a distribution, its ``.metadata``, or its provenance."""

    index: Size
    project: str
    filename: str
    digest: str
    """The digest of the distribution in addresses, see ``model.File.address_digest``."""
    sha256: Sha256Text
    size: Size
    uploaded: str | None
    """As in ``model.File``."""
    stored: UnixTime

    @property
    def key(self) -> tuple[int, str, str, str]:
        return self.index, self.project, self.filename, self.digest


class Member(ManifestStruct, frozen=True, gc=False):
    """A member of the archive."""

    sha256: Sha256Text
    size: Size


class BundledDocument(ManifestStruct, frozen=True, gc=False):
    """A page or a provenance in the archive, compressed."""

    sha256: Sha256Text
    size: Size
    packed: Member


VerdictOutcome = Literal["refused", "observed", "exempted"]
"""``observed``: the file passes, since the rule only records."""


class BundledVerdict(ManifestStruct, frozen=True, kw_only=True):
    """The verdict of a rule about a cached file. Refused files are not in bundles."""

    project: str
    filename: str
    """Of a distribution; empty: of the whole project."""
    rule: str
    kind: str
    outcome: VerdictOutcome
    reason: str
    until: UnixTime | None
    """When the verdict may change."""
    exemption: str
    """Why the file passes although the rule refuses it."""

    @property
    def key(self) -> tuple[str, str, str, str]:
        return self.project, self.filename, self.rule, self.outcome


class BundledRules(ManifestStruct, frozen=True, kw_only=True):
    """The rules that the content passed when the bundle was made."""

    index: str
    """The name of the index."""
    policies: tuple[str, ...]
    """Those of the index, and of the indexes that it is made of. Sorted."""
    verdicts: tuple[BundledVerdict, ...]
    """Sorted, without duplicates. A file without a verdict passed all."""


class Manifest(ManifestStruct, frozen=True, kw_only=True, dict=True):
    """All pages and files of a bundle, and which of them the archive contains.

    Lists are sorted and have no duplicates. A delta lists all too, but its archive contains only
    what its base does not list.
    """

    schema: int = BUNDLE_SCHEMA
    base: Sha256Text | None
    """The sha256 of the manifest of the bundle on which a delta is based."""
    indexes: tuple[UpstreamOrigin, ...]
    pages: tuple[BundledPage, ...]
    provenance: tuple[BundledFile, ...]
    files: tuple[BundledFile, ...]
    documents: tuple[BundledDocument, ...]
    """Pages and provenance in the archive: its first members, compressed …"""
    blobs: tuple[Member, ...]
    """… followed by files, not compressed."""
    rules: BundledRules | msgspec.UnsetType = msgspec.UNSET
    """Absent if the bundle is made of an index without policies."""

    @cached_property
    def carried_files(self) -> frozenset[str]:
        """The sha256 of every file in the archive."""
        return frozenset(blob.sha256 for blob in self.blobs)

    @cached_property
    def carried_documents(self) -> dict[str, BundledDocument]:
        """The documents in the archive, by sha256."""
        return {document.sha256: document for document in self.documents}

    @property
    def total_size(self) -> int:
        """Bytes of all files, in the archive or not."""
        return sum({each.sha256: each.size for each in self.files}.values())

    @property
    def carried_size(self) -> int:
        """Bytes of all members of the archive."""
        return sum(member.size for member in self.members())

    def members(self) -> Iterator[Member]:
        yield from (document.packed for document in self.documents)
        yield from self.blobs


class Head(ManifestStruct, frozen=True, kw_only=True):
    """The first member of the archive: the digest of the manifest, and the key of the signature."""

    format: str = FORMAT_NAME
    schema: int = BUNDLE_SCHEMA
    manifest: BundledDocument
    signer: Sha256Text | None
    """The raw Ed25519 public key (RFC 8032) in hex; None: not signed."""


def encode(value: Manifest | Head) -> bytes:
    """JSON, always the same bytes for the same content."""
    return msgspec.json.encode(value)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


TAR_BLOCK = 512
ARCHIVE_END = bytes(2 * TAR_BLOCK)
_OCTAL_LIMIT = 8**11
"""Bytes. A larger size does not fit into the octal field of a header."""
_SIZE_FIELD = slice(124, 136)
_CHECKSUM_FIELD = slice(148, 156)
_MEMBER_KINDS = {
    tarfile.REGTYPE: "a file",
    tarfile.AREGTYPE: "a file",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.LNKTYPE: "a hard link",
    tarfile.DIRTYPE: "a directory",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a pipe",
}


def tar_header(name: str, size: int) -> bytes:
    """The block before a member; mode 644, owner and time 0. ``name``: up to 100 bytes of ASCII."""
    info = tarfile.TarInfo(name)
    info.size = size if size < _OCTAL_LIMIT else 0
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT, "ascii", "strict"))
    if size >= _OCTAL_LIMIT:  # the binary form of GNU tar, which ustar has no field for
        header[_SIZE_FIELD] = b"\x80" + size.to_bytes(11, "big")
        header[_CHECKSUM_FIELD] = b" " * 8
        header[_CHECKSUM_FIELD] = f"{sum(header):06o}\0 ".encode()
    return bytes(header)


def tar_padding(size: int) -> int:
    """The number of zero bytes after a member of ``size`` bytes."""
    return -size % TAR_BLOCK


def header_size(block: bytes) -> int:
    """The size field of a header. Raises ``ValueError``."""
    return int(block[124:135].decode("ascii"), 8)


def describe_header(block: bytes) -> str:
    """An unexpected header in words."""
    if not block.strip(b"\0"):
        return "the end of the archive"
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError:
        return "no header of a tar archive"
    return f"{_MEMBER_KINDS.get(found.type, 'something')} {found.name!r} of {found.size} bytes"


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_COMPRESSION_LEVEL = 9


def zstd_compress(data: bytes) -> bytes:
    return zstd.compress(data, _COMPRESSION_LEVEL)


def zstd_decompress(packed: bytes, size: int) -> bytes:
    """Decompress one frame to exactly ``size`` bytes, and never to more. Raises ``ValueError``."""
    decompressor = zstd.ZstdDecompressor()
    try:
        content = decompressor.decompress(packed, size + 1)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None
    if len(content) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError(f"it does not decompress to {size} bytes")
    return content


def max_compressed(size: int) -> int:
    """The most bytes to which zstd compresses ``size`` bytes."""
    return size + size // 128 + 1024
