"""The manifest of a bundle: every page and file, and what the archive carries of them. Values only.

What a stranger's manifest must be like is in ``checking``.

The tar format (POSIX ustar), as far as a bundle needs it: plain files with name and size.

A reader that knows what has to come needs no parser: it compares headers byte by byte, so no
link, device, owner, path or trick of the format can come in.

zstd (RFC 8878): same input, same bytes, and never more out of it than was promised.
"""

from __future__ import annotations

import hashlib
import sys
import tarfile
from collections.abc import Iterator
from functools import cached_property
from typing import Annotated

import msgspec

from proxy.storage import StoredPage
from proxy.upstream import UpstreamOrigin

FORMAT = "waystation-bundle"
BUNDLE_SCHEMA = 1

Sha256 = Annotated[str, msgspec.Meta(pattern=r"\A[0-9a-f]{64}\Z")]
Size = Annotated[int, msgspec.Meta(ge=0, le=2**62)]
"""Bytes."""
Moment = Annotated[float, msgspec.Meta(ge=0, lt=253402300800)]
"""Unix time in seconds, up to the year 9999: what is later no calendar can tell."""


class ManifestStruct(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The fields of this and all that follow are the format: schema 1 has these and no others."""


class BundledPage(ManifestStruct, frozen=True, kw_only=True, gc=False):
    """A raw page, as in ``storage.pages.StoredPage``; not whether this cache doubted it."""

    index: Size
    """Place in ``Manifest.indexes``."""
    project: str
    sha256: Sha256
    size: Size
    url: str
    content_type: str
    checked: Moment
    lifetime: float | None
    must_revalidate: bool
    etag: str | None
    last_modified: str | None
    serial: int | None

    @property
    def key(self) -> tuple[int, str]:
        return self.index, self.project

    def stored(self) -> StoredPage:
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
    """A held file: a distribution, its ``.metadata``, or its provenance."""

    index: Size
    project: str
    filename: str
    digest: str
    """Of the distribution as addresses name it, see ``model.File.digest``."""
    sha256: Sha256
    size: Size
    uploaded: str | None
    """As in ``model.File``."""
    stored: Moment

    @property
    def key(self) -> tuple[int, str, str, str]:
        return self.index, self.project, self.filename, self.digest

    @property
    def record(self) -> str:
        """The end of the key of its record in a cache, behind kind and namespace."""
        return f"{self.project}/{self.digest}/{self.filename}"


class Member(ManifestStruct, frozen=True, gc=False):
    """Bytes in the archive."""

    sha256: Sha256
    size: Size


class BundledDocument(ManifestStruct, frozen=True, gc=False):
    """A page or a provenance in the archive, compressed."""

    sha256: Sha256
    size: Size
    packed: Member


class Manifest(ManifestStruct, frozen=True, kw_only=True, dict=True):
    """All lists are sorted, and nothing is in them twice.

    A delta lists everything too, but carries only what its base did not list.
    """

    schema: int = BUNDLE_SCHEMA
    base: Sha256 | None
    """The digest of the manifest of the bundle that a delta builds on."""
    indexes: tuple[UpstreamOrigin, ...]
    pages: tuple[BundledPage, ...]
    provenance: tuple[BundledFile, ...]
    files: tuple[BundledFile, ...]
    documents: tuple[BundledDocument, ...]
    """What the archive carries, in this order: first these, compressed …"""
    blobs: tuple[Member, ...]
    """… then files as they are."""

    @cached_property
    def carried(self) -> frozenset[str]:
        """The sha256 of every file that the archive carries."""
        return frozenset(blob.sha256 for blob in self.blobs)

    @cached_property
    def documented(self) -> dict[str, BundledDocument]:
        """The documents that the archive carries, by sha256."""
        return {document.sha256: document for document in self.documents}

    @property
    def total(self) -> int:
        """Bytes of all files, carried or not."""
        return sum({each.sha256: each.size for each in self.files}.values())

    @property
    def load(self) -> int:
        """Bytes of what the archive carries."""
        return sum(member.size for member in self.members())

    def members(self) -> Iterator[Member]:
        yield from (document.packed for document in self.documents)
        yield from self.blobs


class Head(ManifestStruct, frozen=True, kw_only=True):
    """The first member of the archive: what the manifest has to be, and whose signature follows."""

    format: str = FORMAT
    schema: int = BUNDLE_SCHEMA
    manifest: BundledDocument
    signer: Sha256 | None
    """The raw Ed25519 public key (RFC 8032) in hex; None: not signed."""


def encode(value: Manifest | Head) -> bytes:
    """As JSON, always the same for the same content."""
    return msgspec.json.encode(value)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


BLOCK = 512
END = bytes(2 * BLOCK)
_OCTAL_LIMIT = 8**11
"""Bytes. A larger size does not fit into the octal field of a header."""
_SIZE_FIELD = slice(124, 136)
_CHECKSUM_FIELD = slice(148, 156)
_KINDS = {
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
    """How many zero bytes follow a member of that size."""
    return -size % BLOCK


def size_in(block: bytes) -> int:
    """The size that a header names. Raises ``ValueError``."""
    return int(block[124:135].decode("ascii"), 8)


def described(block: bytes) -> str:
    """What a header that was not expected announces, for people."""
    if not block.strip(b"\0"):
        return "the end of the archive"
    try:
        found = tarfile.TarInfo.frombuf(block, "utf-8", "replace")
    except tarfile.HeaderError:
        return "nothing of a tar archive"
    return f"{_KINDS.get(found.type, 'something')} {found.name!r} of {found.size} bytes"


if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_LEVEL = 9


def zstd_compress(data: bytes) -> bytes:
    return zstd.compress(data, _LEVEL)


def zstd_decompress(packed: bytes, size: int) -> bytes:
    """The content, of exactly ``size`` bytes and in one frame. Raises ``ValueError``."""
    decompressor = zstd.ZstdDecompressor()
    try:
        content = decompressor.decompress(packed, size + 1)
    except zstd.ZstdError as error:
        raise ValueError(str(error)) from None
    if len(content) != size or not decompressor.eof or decompressor.unused_data:
        raise ValueError(f"it does not unpack to {size} bytes")
    return content


def max_compressed(size: int) -> int:
    """Bytes that nothing packed is larger than, for content of ``size`` bytes."""
    return size + size // 128 + 1024
