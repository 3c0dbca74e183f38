"""Takes the content coding off small answers, within limits: their senders are not trusted."""

from __future__ import annotations

import asyncio
import zlib

try:
    from isal import igzip_lib
    from isal import isal_zlib as inflate  # several times as fast

    # its stub takes the class for an instance
    _BROKEN: tuple[type[Exception], ...] = (zlib.error, igzip_lib.IsalError)  # type: ignore[assignment]
except ImportError:  # no wheel for this platform
    inflate = zlib  # type: ignore[misc]
    _BROKEN = (zlib.error,)

RATIO = 200
HARMLESS = 8 * 2**20
"""Bytes up to which the ratio does not matter: short texts repeat themselves a lot."""
_QUICK = 64 * 2**10
_EITHER = 47  # window bits: gzip or zlib, as the header says
_MEMBERS = 128
"""Each costs a copy of what follows it."""
_CODINGS = {"gzip", "x-gzip", "deflate"}


class Undecodable(ValueError):
    """The coding is unknown, the data broken, or the content larger than allowed."""


async def decoded(data: bytes, coding: str | None, limit: int) -> bytes:
    """The content, at most ``limit`` bytes and 200 times the data. Raises ``Undecodable``."""
    if coding is None:
        return data
    if coding not in _CODINGS:
        raise Undecodable("has an unknown content coding")
    if len(data) <= _QUICK:
        return _inflated(data, limit)
    return await asyncio.to_thread(_inflated, data, limit)


def _inflated(data: bytes, limit: int) -> bytes:
    left = min(limit, max(HARMLESS, RATIO * len(data)))
    parts: list[bytes] = []
    told = int.from_bytes(data[-4:], "little")  # a hint: most often the size of the content
    for _ in range(_MEMBERS):  # one after the other: RFC 1952, section 2.2
        if not data:
            return b"".join(parts)
        stream = inflate.decompressobj(wbits=_EITHER)
        try:
            part = stream.decompress(data, min(left, told) + 1)  # a buffer that need not grow
            if not stream.eof and (room := left + 1 - len(part)):  # 0 would mean no limit
                part += stream.decompress(stream.unconsumed_tail, room)
        except _BROKEN:
            raise Undecodable("has a broken content coding") from None
        parts.append(part)
        left -= len(part)
        if left < 0:
            raise Undecodable("is larger than allowed")
        if not stream.eof:
            raise Undecodable("ends in the middle")
        data = stream.unused_data
    raise Undecodable("is in too many pieces")
