"""Which bytes were meant by a file that came with a ``Content-Encoding``.

Some servers label a ``.tar.gz`` as gzip, others compress on the way; the digest tells the two
apart. What may be read as a whole is decoded in ``decoding``.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator
from itertools import chain

import msgspec

from proxy.storage.reading import PIECE_SIZE
from proxy.upstream.decoding import more_members, window_bits
from proxy.upstream.headers import codings
from proxy.upstream.spool import Spool
from proxy.upstream.verify import DigestCheck, Expected

_MAGIC = {
    (".gz", ".tgz"): b"\x1f\x8b",
    (".whl", ".zip", ".egg"): b"PK\x03\x04",
    (".bz2",): b"BZh",
    (".xz",): b"\xfd7zXZ",
    (".zst",): b"\x28\xb5\x2f\xfd",
}


def raw_check(expected: Expected) -> DigestCheck:
    """A check for bytes whose length says nothing about the file yet."""
    return DigestCheck(msgspec.structs.replace(expected, size=None))


def choose_bytes(
    raw: Spool, check: DigestCheck, expected: Expected, encoding: str, decoded: Spool
) -> tuple[Spool, str]:
    """The spool that holds the file, and its sha256: ``raw`` as it came, or ``decoded``.

    ``check``, a ``raw_check``, has seen the raw bytes. Blocks: for a thread. Raises
    ``DigestMismatch`` where neither is right, ``OSError`` where the disk takes no more.
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
