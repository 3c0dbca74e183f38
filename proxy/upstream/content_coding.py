"""Removes the content coding of answers, within limits: the senders are not trusted.

Pages are decoded in memory. Of a file that came with a ``Content-Encoding``, the digest decides
which bytes are the file: some servers label a ``.tar.gz`` as gzip, others compress on the way.
"""

from __future__ import annotations

import asyncio
import codecs
import os
import zlib
from collections.abc import Iterator
from itertools import chain

import msgspec

from proxy.runtime import PIECE_SIZE
from proxy.upstream.digest_check import DigestCheck, Expected
from proxy.upstream.headers import codings
from proxy.upstream.spool import Spool

try:
    from isal import igzip_lib
    from isal import isal_zlib as inflate  # several times as fast

    # its stub takes the class for an instance
    _DECODING_ERRORS: tuple[type[Exception], ...] = (zlib.error, igzip_lib.IsalError)  # type: ignore[assignment]
except ImportError:  # no wheel for this platform
    inflate = zlib  # type: ignore[misc]
    _DECODING_ERRORS = (zlib.error,)

MAX_RATIO = 200
RATIO_FREE_SIZE = 8 * 2**20
"""Bytes up to which the ratio is not checked: short texts repeat themselves a lot."""
_OFFLOAD_ABOVE = 64 * 2**10
_GZIP_OR_ZLIB = 47  # window bits: gzip or zlib, as the header says
_MAX_MEMBERS = 128
"""Members of one gzip stream; each costs a copy of the bytes that follow it."""
_GZIP_MAGIC = b"\x1f\x8b"


class Undecodable(ValueError):
    """The data are broken, or the content is larger than allowed."""


async def decoded(data: bytes, coding: str | None, limit: int) -> bytes:
    """The content, at most ``limit`` bytes and 200 times the data. Raises ``Undecodable``.

    ``coding`` is a ``Content-Encoding``. A coding that the bytes do not have is ignored: some
    servers label content that they do not encode.
    """
    for each in codings(coding):
        if not (bits := window_bits(each, data)):
            return data
        if len(data) <= _OFFLOAD_ABOVE:
            data = _inflated(data, bits, limit)
        else:
            data = await asyncio.to_thread(_inflated, data, bits, limit)
    return data


def window_bits(coding: str, data: bytes) -> int:
    """``wbits`` for ``decompressobj``, from the first bytes; 0: the data are not encoded.

    Many senders of ``deflate`` omit the header of zlib (RFC 9110, section 8.4.1.2).
    """
    if data.startswith(_GZIP_MAGIC) or (len(data) > 1 and _is_zlib(data)):
        return _GZIP_OR_ZLIB
    text = data.removeprefix(codecs.BOM_UTF8).lstrip()[:1] in (b"", b"<", b"{")
    return -zlib.MAX_WBITS if coding == "deflate" and not text else 0


def _is_zlib(data: bytes) -> bool:
    """RFC 1950, section 2.2."""
    return data[0] & 15 == 8 and int.from_bytes(data[:2]) % 31 == 0


def more_members(rest: bytes) -> bool:
    """Whether another gzip member follows; anything else is padding."""
    return rest.startswith(_GZIP_MAGIC)


def _inflated(data: bytes, bits: int, limit: int) -> bytes:
    left = min(limit, max(RATIO_FREE_SIZE, MAX_RATIO * len(data)))
    parts: list[bytes] = []
    hint = int.from_bytes(data[-4:], "little")  # most often the size of the content
    for _ in range(_MAX_MEMBERS):  # one after the other: RFC 1952, section 2.2
        stream = inflate.decompressobj(wbits=bits)
        try:
            part = stream.decompress(data, min(left, hint) + 1)  # a buffer that need not grow
            if not stream.eof and (room := left + 1 - len(part)):  # 0 would mean no limit
                part += stream.decompress(stream.unconsumed_tail, room)
        except _DECODING_ERRORS:
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


_MAGIC = {
    (".gz", ".tgz"): b"\x1f\x8b",
    (".whl", ".zip", ".egg"): b"PK\x03\x04",
    (".bz2",): b"BZh",
    (".xz",): b"\xfd7zXZ",
    (".zst",): b"\x28\xb5\x2f\xfd",
}


def raw_check(expected: Expected) -> DigestCheck:
    """A check for encoded bytes, whose length is not that of the file."""
    return DigestCheck(msgspec.structs.replace(expected, size=None))


def choose_bytes(
    raw: Spool, check: DigestCheck, expected: Expected, encoding: str, decoded: Spool
) -> tuple[Spool, str]:
    """The spool with the bytes of the file, and its sha256: ``raw`` as it came, or ``decoded``.

    ``check``, a ``raw_check``, has seen the raw bytes. Blocks: for a thread. Raises
    ``DigestMismatch`` if neither is right, ``OSError`` if the disk takes no more.
    """
    if check.proven or (not check.has_digest and _is_archive(raw, expected.what)):
        return raw, check.sha256
    plain = DigestCheck(expected)
    try:
        for piece in _decode(raw, encoding):
            plain.update(piece)
            decoded.write(piece)
    except zlib.error:
        raise plain.mismatch("came with an encoding that it does not have") from None
    return decoded, plain.finish()


def _is_archive(raw: Spool, what: str) -> bool:
    name = what.partition(" ")[0]
    magic = next((magic for ends, magic in _MAGIC.items() if name.endswith(ends)), None)
    return magic is not None and raw.written > 0 and os.pread(raw.fd, len(magic), 0) == magic


def _decode(raw: Spool, encoding: str) -> Iterator[bytes]:
    """Pieces of bounded size, whatever they were compressed to. Raises ``zlib.error``."""
    pieces = _pieces(raw)
    for coding in codings(encoding):
        pieces = _inflated_pieces(pieces, coding)
    return pieces


def _pieces(raw: Spool) -> Iterator[bytes]:
    for at in range(0, raw.written, PIECE_SIZE):
        yield os.pread(raw.fd, PIECE_SIZE, at)


def _inflated_pieces(pieces: Iterator[bytes], coding: str) -> Iterator[bytes]:
    first = next(pieces, b"")
    if not (bits := window_bits(coding, first)):
        yield first
        yield from pieces
        return
    engine = zlib.decompressobj(bits)
    for piece in chain([first], pieces):
        data = piece
        while data:
            if engine.eof:  # gzip may consist of several members (RFC 1952, 2.2)
                if not more_members(data):
                    return
                engine = zlib.decompressobj(bits)
            yield engine.decompress(data, PIECE_SIZE)
            data = engine.unused_data if engine.eof else engine.unconsumed_tail
    while not engine.eof:
        if not (data := engine.decompress(b"", PIECE_SIZE)):
            raise zlib.error("ends early")
        yield data
