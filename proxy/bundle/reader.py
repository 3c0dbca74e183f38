"""Read a bundle from start to end: each byte is compared or hashed, and nothing is stored.

```text
waystation-bundle.json    the head: digest of the manifest, public key of the signer
signature.ed25519         of the head, if that names a signer
manifest.json.zst         every page and file
documents/<sha256>.zst    pages and provenance
files/<sha256>            files, not compressed
```

The manifest determines which members follow and their sizes, so every header of the archive and
all its padding is known before it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import BinaryIO

from proxy.bundle.checks import read_head, read_manifest
from proxy.bundle.errors import BadBundle, BundleIOError
from proxy.bundle.format import (
    ARCHIVE_END,
    TAR_BLOCK,
    BundledDocument,
    Head,
    Manifest,
    Member,
    describe_header,
    header_size,
    sha256,
    tar_header,
    tar_padding,
    zstd_decompress,
)
from proxy.bundle.signing import SIGNATURE_SIZE, verify_signature
from proxy.runtime import in_thread

Steps = Generator[int, None, None]
"""Work that blocks on the disk, in steps; each yields the bytes that it processed."""


async def run_steps(steps: Steps, report: Callable[[int], None]) -> None:
    """Run each step in a thread. If this is cancelled, the running step is the last."""
    try:
        while (step := await in_thread(next, steps, None)) is not None:
            report(step)
    finally:
        steps.close()


READ_SIZE = 2**20
"""Bytes read or written in one go."""


class ByteSource:
    """A stream that is read once, in pieces of known sizes. Blocks on the disk.

    If ``hashed``, ``digest`` is that of all bytes read. Methods raise ``BundleIOError``.
    """

    def __init__(self, stream: BinaryIO, *, hashed: bool = False) -> None:
        self._stream = stream
        self._hash = hashlib.sha256() if hashed else None

    def read_exactly(self, size: int) -> bytes:
        """``size`` bytes. Raises ``BadBundle`` if there are fewer."""
        return b"".join(self.iter_pieces(size))

    def iter_pieces(self, size: int) -> Iterator[bytes]:
        """As ``read_exactly``, in pieces."""
        while size:
            piece = self._read(min(size, READ_SIZE))
            if not piece:
                raise BadBundle("it ends too early: it is truncated, or not a bundle")
            size -= len(piece)
            yield piece

    def expect_end(self) -> None:
        """Raises ``BadBundle`` if there are more bytes."""
        if self._read(1):
            raise BadBundle("there are bytes after its end")

    @property
    def digest(self) -> str:
        """The sha256 of what was read."""
        assert self._hash
        return self._hash.hexdigest()

    def _read(self, size: int) -> bytes:
        try:
            piece = self._stream.read(size)
        except OSError as error:
            raise BundleIOError("the bundle cannot be read", error) from error
        if self._hash:
            self._hash.update(piece)
        return piece


HEAD_NAME = "waystation-bundle.json"
SIGNATURE_NAME = "signature.ed25519"
MANIFEST_NAME = "manifest.json.zst"
MAX_BUNDLE_HEAD = 4096
"""Bytes."""

MemberConsumer = Callable[[Member, Iterable[bytes]], Steps]
"""Consumes the bytes of a member.

The iterable raises at its end if the digest is wrong: the member is valid only after that.
"""


class Bundle:
    """A bundle. The constructor reads head and manifest, ``members`` the rest, once."""

    def __init__(self, source: ByteSource, trusted: frozenset[str] = frozenset()) -> None:
        """``trusted``: raw public keys in hex, see ``verify_signature``.

        Raises ``BadBundle``, and ``BundleIOError`` if it cannot be read; so do the methods.
        """
        self._source = source
        data = self._read_head()
        self.head: Head = read_head(data)
        signature = self._read_member(SIGNATURE_NAME, SIGNATURE_SIZE) if self.head.signer else b""
        self.signature_verified = verify_signature(self.head.signer, signature, data, trusted)
        """Whether the signature was checked; False without a signature or without cryptography."""
        self.manifest_json = self._read_document(MANIFEST_NAME, self.head.manifest)[1]
        """The manifest as JSON."""
        self.manifest: Manifest = read_manifest(self.manifest_json, self.head.manifest.sha256)

    @property
    def digest(self) -> str:
        """The sha256 of the manifest, which a delta names as its base."""
        return self.head.manifest.sha256

    @property
    def archive_digest(self) -> str:
        """The sha256 of all bytes read; the source must be ``hashed``."""
        return self._source.digest

    def members(self, take: MemberConsumer) -> Steps:
        """Pass each member to ``take``, and check that nothing follows."""
        for document in self.manifest.documents:
            packed, _ = self._read_document(document_name(document), document)
            yield from take(document.packed, [packed])
        for blob in self.manifest.blobs:
            yield from take(blob, self._iter_member(blob_name(blob), blob))
        if self._source.read_exactly(len(ARCHIVE_END)) != ARCHIVE_END:
            raise BadBundle("it does not end where the manifest says")
        self._source.expect_end()

    def require_archive_digest(self, expected: str | None) -> None:
        """After ``members``: check the sha256 of the archive. Raises ``BadBundle``."""
        if expected is not None and self.archive_digest != expected:
            raise BadBundle(f"its digest is sha256:{self.archive_digest}, not the expected one")

    def _read_head(self) -> bytes:
        block = self._source.read_exactly(TAR_BLOCK)
        try:
            size = header_size(block)
        except ValueError:
            size = -1
        if not 0 <= size <= MAX_BUNDLE_HEAD or block != tar_header(HEAD_NAME, size):
            raise BadBundle(
                f"it begins with {describe_header(block)}, so it is not a bundle of Waystation"
            )
        return self._read_padded(size)

    def _read_member(self, name: str, size: int) -> bytes:
        self._expect_header(name, size)
        return self._read_padded(size)

    def _read_document(self, name: str, document: BundledDocument) -> tuple[bytes, bytes]:
        """The compressed bytes, and the content."""
        packed = self._read_member(name, document.packed.size)
        if sha256(packed) != document.packed.sha256:
            raise BadBundle(f"{name} does not have its digest")
        try:
            content = zstd_decompress(packed, document.size)
        except ValueError as error:
            raise BadBundle(f"{name}: {error}") from None
        if sha256(content) != document.sha256:
            raise BadBundle(f"{name} does not have its digest")
        return packed, content

    def _iter_member(self, name: str, member: Member) -> Iterator[bytes]:
        self._expect_header(name, member.size)
        found = hashlib.sha256()
        for piece in self._source.iter_pieces(member.size):
            found.update(piece)
            yield piece
        self._expect_padding(member.size)
        if found.hexdigest() != member.sha256:
            raise BadBundle(f"{name} does not have its digest")

    def _expect_header(self, name: str, size: int) -> None:
        block = self._source.read_exactly(TAR_BLOCK)
        if block != tar_header(name, size):
            raise BadBundle(f"instead of {name} of {size} bytes there is {describe_header(block)}")

    def _read_padded(self, size: int) -> bytes:
        data = self._source.read_exactly(size)
        self._expect_padding(size)
        return data

    def _expect_padding(self, size: int) -> None:
        if any(self._source.read_exactly(tar_padding(size))):
            raise BadBundle("there are bytes between its members")


def document_name(document: BundledDocument) -> str:
    return f"documents/{document.sha256}.zst"


def blob_name(blob: Member) -> str:
    return f"files/{blob.sha256}"


def discard(member: Member, pieces: Iterable[bytes]) -> Steps:
    """A ``MemberConsumer`` that stores nothing."""
    for piece in pieces:
        yield len(piece)
