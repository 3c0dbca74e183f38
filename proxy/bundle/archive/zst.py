"""zstd (RFC 8878): same input, same bytes, and never more out of it than was promised."""

from __future__ import annotations

import sys

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
