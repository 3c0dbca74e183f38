"""Long work on the disk in steps, each done in a thread.

A stream of bytes that is read once from start to end, in exact pieces.

A bundle read from start to end, each byte of it compared or hashed. Nothing is stored here.

```text
waystation-bundle.json    the head: digests of the manifest, who signed
signature.ed25519         of the head, where it names a signer
manifest.json.zst         every page and file
documents/<sha256>.zst    pages and provenance
files/<sha256>            files as they are
```

The manifest says which members have to follow and how long they are, so every header of the
archive and all its padding is known before it is read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import BinaryIO

from proxy.bundle.checks import read_head, read_manifest
from proxy.bundle.errors import BadBundle, BundleFailed
from proxy.bundle.format import (
    BLOCK,
    END,
    BundledDocument,
    Head,
    Manifest,
    Member,
    described,
    sha256,
    size_in,
    tar_header,
    tar_padding,
    zstd_decompress,
)
from proxy.bundle.signing import SIGNATURE, check
from proxy.runtime import in_thread

Steps = Generator[int, None, None]
"""Yields how many bytes each step has dealt with."""


async def run_steps(steps: Steps, tell: Callable[[int], None]) -> None:
    """All of them; if this is cancelled, the one that runs is the last."""
    try:
        while (step := await in_thread(next, steps, None)) is not None:
            tell(step)
    finally:
        steps.close()


READ_SIZE = 2**20
"""Bytes read or written in one go."""


class ByteSource:
    """Knows how much was read, and on demand the digest of all of it. Blocks on the disk."""

    def __init__(self, stream: BinaryIO, *, hashed: bool = False) -> None:
        self._stream = stream
        self._hash = hashlib.sha256() if hashed else None

    def exactly(self, size: int) -> bytes:
        """So many bytes. Raises ``BadBundle`` if there are fewer, and ``BundleFailed``."""
        return b"".join(self.pieces(size))

    def pieces(self, size: int) -> Iterator[bytes]:
        """As ``exactly``, bit by bit."""
        while size:
            piece = self._read(min(size, READ_SIZE))
            if not piece:
                raise BadBundle("it ends too early: it is cut off, or no bundle at all")
            size -= len(piece)
            yield piece

    def end(self) -> None:
        """Raises ``BadBundle`` unless all was read, and ``BundleFailed``."""
        if self._read(1):
            raise BadBundle("something follows after its end")

    @property
    def digest(self) -> str:
        """The sha256 of what was read."""
        assert self._hash
        return self._hash.hexdigest()

    def _read(self, size: int) -> bytes:
        try:
            piece = self._stream.read(size)
        except OSError as error:
            raise BundleFailed("the bundle cannot be read", error) from error
        if self._hash:
            self._hash.update(piece)
        return piece


HEAD_NAME = "waystation-bundle.json"
SIGNATURE_NAME = "signature.ed25519"
MANIFEST_NAME = "manifest.json.zst"
LARGEST_HEAD = 4096
"""Bytes."""

Take = Callable[[Member, Iterable[bytes]], Steps]
"""Consumes the bytes of a member.

The iterable raises at its end where they are wrong: only who has got that far has the member.
"""


class Bundle:
    """The beginning is read when it is made; the rest by ``members``, once."""

    def __init__(self, source: ByteSource, trusted: frozenset[str] = frozenset()) -> None:
        """``trusted``: raw public keys in hex, see ``signing.check``.

        Raises ``BadBundle``, and ``Failed`` where it cannot be read; so do the methods.
        """
        self._source = source
        data = self._head()
        self.head: Head = read_head(data)
        signature = self._whole(SIGNATURE_NAME, SIGNATURE) if self.head.signer else b""
        self.verified = check(self.head.signer, signature, data, trusted)
        """Whether the signature was checked and is right."""
        self.content = self._unpacked(MANIFEST_NAME, self.head.manifest)[1]
        """The manifest as JSON."""
        self.manifest: Manifest = read_manifest(self.content, self.head.manifest.sha256)

    @property
    def digest(self) -> str:
        """The sha256 of the manifest: what a delta calls its base."""
        return self.head.manifest.sha256

    @property
    def archive_digest(self) -> str:
        """The sha256 of all that was read, where the source was told to find it out."""
        return self._source.digest

    def members(self, take: Take) -> Steps:
        """Hand over member by member, and check that nothing follows; yields bytes as they come."""
        for document in self.manifest.documents:
            packed, _ = self._unpacked(document_name(document), document)
            yield from take(document.packed, [packed])
        for blob in self.manifest.blobs:
            yield from take(blob, self._member(blob_name(blob), blob))
        if self._source.exactly(len(END)) != END:
            raise BadBundle("its end is not where the manifest says")
        self._source.end()

    def require(self, expected: str | None) -> None:
        """At the end: that the archive has this sha256, if any is given. Raises ``BadBundle``."""
        if expected is not None and self.archive_digest != expected:
            raise BadBundle(f"it is sha256:{self.archive_digest}, and not the one expected")

    def _head(self) -> bytes:
        block = self._source.exactly(BLOCK)
        try:
            size = size_in(block)
        except ValueError:
            size = -1
        if not 0 <= size <= LARGEST_HEAD or block != tar_header(HEAD_NAME, size):
            raise BadBundle(f"it begins with {described(block)}, so it is not one of Waystation's")
        return self._padded(size)

    def _whole(self, name: str, size: int) -> bytes:
        self._expect(name, size)
        return self._padded(size)

    def _unpacked(self, name: str, document: BundledDocument) -> tuple[bytes, bytes]:
        """As it lies in the archive, and its content."""
        packed = self._whole(name, document.packed.size)
        if sha256(packed) != document.packed.sha256:
            raise BadBundle(f"{name} is not what it was")
        try:
            content = zstd_decompress(packed, document.size)
        except ValueError as error:
            raise BadBundle(f"{name}: {error}") from None
        if sha256(content) != document.sha256:
            raise BadBundle(f"{name} is not what it was")
        return packed, content

    def _member(self, name: str, member: Member) -> Iterator[bytes]:
        self._expect(name, member.size)
        found = hashlib.sha256()
        for piece in self._source.pieces(member.size):
            found.update(piece)
            yield piece
        self._pad(member.size)
        if found.hexdigest() != member.sha256:
            raise BadBundle(f"{name} is not what it was")

    def _expect(self, name: str, size: int) -> None:
        block = self._source.exactly(BLOCK)
        if block != tar_header(name, size):
            raise BadBundle(
                f"where {name} of {size} bytes has to follow, there is {described(block)}"
            )

    def _padded(self, size: int) -> bytes:
        data = self._source.exactly(size)
        self._pad(size)
        return data

    def _pad(self, size: int) -> None:
        if any(self._source.exactly(tar_padding(size))):
            raise BadBundle("there is something between its members")


def document_name(document: BundledDocument) -> str:
    return f"documents/{document.sha256}.zst"


def blob_name(blob: Member) -> str:
    return f"files/{blob.sha256}"


def drop(member: Member, pieces: Iterable[bytes]) -> Steps:
    """Takes a member and keeps nothing of it."""
    for piece in pieces:
        yield len(piece)
