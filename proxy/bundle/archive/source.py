"""A stream of bytes that is read once from start to end, in exact pieces."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from proxy.bundle.archive.refused import BadBundle, BundleFailed

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
