"""gzip (RFC 1952) for pages, stored and sent: equal input gives equal bytes."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol


class _Packer(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


try:
    from isal import igzip, isal_zlib  # the ratio of zlib in a tenth of the time

    _compressor: Callable[[int, int, int], _Packer] = isal_zlib.compressobj
    _decompress, _LEVEL = igzip.decompress, 1  # for pages, level 2 makes more bytes in more time
except ImportError:  # no wheel for this platform
    _compressor, _decompress, _LEVEL = zlib.compressobj, gzip.decompress, 5
_GZIP_WINDOW_BITS = 31
"""Window bits for a gzip header without a time (zlib manual, ``deflateInit2``)."""


def compress(data: bytes) -> bytes:
    return compress_pieces((data,))


def compress_pieces(pieces: Iterable[bytes]) -> bytes:
    """One gzip file of all pieces. The same content in other pieces may give other bytes."""
    packer = _compressor(_LEVEL, zlib.DEFLATED, _GZIP_WINDOW_BITS)
    return b"".join([*map(packer.compress, pieces), packer.flush()])


def decompress_pieces(data: bytes, size: int = 2**18) -> Iterator[bytes]:
    """The content of a file that ``compress`` made, ``size`` bytes at a time."""
    unpacker = zlib.decompressobj(_GZIP_WINDOW_BITS)
    for start in range(0, len(data), 2**16):
        left = data[start : start + 2**16]
        while left:
            yield unpacker.decompress(left, size)
            left = unpacker.unconsumed_tail


def decompress(data: bytes) -> bytes:
    """The content of a file that ``compress`` made. Not for bytes from outside: has no limit."""
    content: bytes = _decompress(data)  # type: ignore[no-untyped-call]
    return content
