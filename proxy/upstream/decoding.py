"""Takes the content coding off small answers, within limits: their senders are not trusted."""

from __future__ import annotations

import asyncio
import codecs
import zlib

from proxy.upstream.headers import codings

try:
    from isal import igzip_lib
    from isal import isal_zlib as inflate  # several times as fast

    # its stub takes the class for an instance
    _BROKEN: tuple[type[Exception], ...] = (zlib.error, igzip_lib.IsalError)  # type: ignore[assignment]
except ImportError:  # no wheel for this platform
    inflate = zlib  # type: ignore[misc]
    _BROKEN = (zlib.error,)

MAX_RATIO = 200
RATIO_FREE_SIZE = 8 * 2**20
"""Bytes up to which the ratio does not matter: short texts repeat themselves a lot."""
_QUICK = 64 * 2**10
_EITHER = 47  # window bits: gzip or zlib, as the header says
_MEMBERS = 128
"""Each costs a copy of what follows it."""
_GZIP = b"\x1f\x8b"


class Undecodable(ValueError):
    """The data are broken, or the content is larger than allowed."""


async def decoded(data: bytes, coding: str | None, limit: int) -> bytes:
    """The content, at most ``limit`` bytes and 200 times the data. Raises ``Undecodable``.

    ``coding`` is a ``Content-Encoding``; the bytes have the last word. A coding that they do not
    show is not taken off: some servers label what they send as it is.
    """
    for each in codings(coding):
        if not (bits := window_bits(each, data)):
            return data
        if len(data) <= _QUICK:
            data = _inflated(data, bits, limit)
        else:
            data = await asyncio.to_thread(_inflated, data, bits, limit)
    return data


def window_bits(coding: str, data: bytes) -> int:
    """For ``decompressobj``, by how the data begin; 0: they are not coded at all.

    Many senders of ``deflate`` leave out the header of zlib (RFC 9110, section 8.4.1.2).
    """
    if data.startswith(_GZIP) or (len(data) > 1 and _is_zlib(data)):
        return _EITHER
    text = data.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"", b"<", b"{")
    return -zlib.MAX_WBITS if coding == "deflate" and not text else 0


def _is_zlib(data: bytes) -> bool:
    """RFC 1950, section 2.2."""
    return data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0


def more_members(rest: bytes) -> bool:
    """Whether gzip goes on after the end of a member; anything else there is padding."""
    return rest.startswith(_GZIP)


def _inflated(data: bytes, bits: int, limit: int) -> bytes:
    left = min(limit, max(RATIO_FREE_SIZE, MAX_RATIO * len(data)))
    parts: list[bytes] = []
    told = int.from_bytes(data[-4:], "little")  # a hint: most often the size of the content
    for _ in range(_MEMBERS):  # one after the other: RFC 1952, section 2.2
        stream = inflate.decompressobj(wbits=bits)
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
        if not more_members(data):
            return b"".join(parts)
    raise Undecodable("is in too many pieces")
