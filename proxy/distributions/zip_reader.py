"""Reads zip archives (wheels, some sdists) strictly; ``archive`` knows the members.

Archives that two readers could understand differently are refused.
"""

from __future__ import annotations

import os
import stat
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from proxy.distributions.archive import ZipMember
from proxy.distributions.archive_limits import (
    DIRECTORY_LIMIT,
    MEMBER_LIMIT,
    METADATA_LIMIT,
    UnusableArchive,
    check_ratio,
)

_LOCAL_HEADER = struct.Struct("<4s5H3L2H")
_END_RECORD = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR_64 = struct.Struct("<4sLQL")
_MAX_COMMENT = 65_535
_FULL = (0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
"""Values of the end record for which those of the 64-bit record count: members, size, offset."""
_ENCRYPTED, _SIZES_FOLLOW, _UTF_8 = 0x1, 0x8, 0x800
HARMLESS_UNPACKED = 64 * 1024 * 1024
"""Unpacked bytes that the members may have, however small the archive is."""

PIECE_SIZE = 256 * 1024
"""Bytes that are read, or unpacked, at a time."""
_DESCRIPTOR = 24  # bytes at most between a member's data and the next header

# Errors of zipfile for broken archives. OSError is not among them: it is an error of the disk.
_ZIP_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    ValueError,
    NotImplementedError,
    RuntimeError,
    OverflowError,
    struct.error,
)


def check_end(file: BinaryIO) -> int:
    """The number of members, if the archive fills its file.

    Raises ``UnusableArchive`` for a file that is still being copied, and for an archive with
    other bytes before or after it.
    """
    length = file.seek(0, os.SEEK_END)
    tail_start = max(0, length - _END_RECORD.size - _MAX_COMMENT)
    tail = _at(file, tail_start, length - tail_start)
    found = tail.rfind(b"PK\5\6")
    if found < 0 or found + _END_RECORD.size > len(tail):
        raise UnusableArchive("it has no end record; perhaps it is not yet complete")
    end = tail_start + found
    facts: tuple[int, ...] = _END_RECORD.unpack_from(tail, found)[4:]
    entries, size, offset, comment = facts
    if end + _END_RECORD.size + comment != length:
        raise UnusableArchive("there are bytes after its end record")
    end, entries, size, offset = _end_64(file, end, (entries, size, offset))
    if offset + size != end:
        raise UnusableArchive("its central directory is not where its end record says")
    if entries > MEMBER_LIMIT or size > DIRECTORY_LIMIT:
        raise UnusableArchive("it has too many members")
    if entries == 0 or _at(file, 0, 4) != b"PK\3\4" or _at(file, 257, 5) == b"ustar":
        raise UnusableArchive("it does not start as a zip archive does")
    return entries


@contextmanager
def opened(file: BinaryIO) -> Iterator[zipfile.ZipFile]:
    """The archive, if all its headers agree. Raises ``UnusableArchive``, also while it is read."""
    count = check_end(file)
    try:
        with zipfile.ZipFile(file) as archive:
            if len(archive.infolist()) != count:
                raise UnusableArchive("its end record counts other members than it has")
            _check_members(archive)
            _check_local_headers(file, archive)
            yield archive
    except UnusableArchive:
        raise
    except _ZIP_ERRORS as error:
        raise UnusableArchive("it is not a valid zip archive") from error


def read_member(archive: zipfile.ZipFile, name: str) -> bytes:
    """The content of a small member. Raises ``UnusableArchive`` if it is not small."""
    with archive.open(name) as member:
        content = member.read(METADATA_LIMIT + 1)
    if len(content) > METADATA_LIMIT:
        raise UnusableArchive("its metadata is too large")
    return content


def list_members(file: BinaryIO) -> list[ZipMember]:
    """The members of an archive, if all its headers agree. Raises ``UnusableArchive``."""
    with opened(file) as archive:
        return [_member(file, info) for info in archive.infolist()]


def unpack_member(file: BinaryIO, member: ZipMember, start: int = 0) -> Iterator[bytes]:
    """The bytes of the member from ``start`` on, never more than its size.

    Compressed bytes before ``start`` are unpacked too. Raises ``UnusableArchive`` if the member is
    damaged, which is known only at its end.
    """
    position, left = member.offset, member.packed
    inflater = None if member.stored else zlib.decompressobj(-zlib.MAX_WBITS)
    crc, done, data = 0, 0, b""
    while done < member.size:
        if not data:
            file.seek(position)
            data = file.read(min(PIECE_SIZE, left))
            position, left = position + len(data), left - len(data)
            if not data:
                raise UnusableArchive("its end is missing")
        piece, data = _unpacked(inflater, data, min(PIECE_SIZE, member.size - done))
        crc = zlib.crc32(piece, crc)
        done += len(piece)
        if done == member.size and crc != member.crc:
            raise UnusableArchive("its checksum is wrong")
        if piece and done > start:
            yield piece[max(0, len(piece) - (done - start)) :]


def _unpacked(inflater: Any, data: bytes, limit: int) -> tuple[bytes, bytes]:
    """At most ``limit`` unpacked bytes, and the packed ones that are left."""
    if inflater is None:
        return data[:limit], data[limit:]
    try:
        return inflater.decompress(data, limit), inflater.unconsumed_tail
    except zlib.error as error:
        raise UnusableArchive("it is damaged") from error


def _member(file: BinaryIO, info: zipfile.ZipInfo) -> ZipMember:
    return ZipMember(
        info.orig_filename,
        _end_of(file, info) - info.compress_size,
        info.compress_size,
        info.file_size,
        info.CRC,
        info.compress_type == zipfile.ZIP_STORED,
        stat.S_ISLNK(info.external_attr >> 16),
    )


def _end_64(file: BinaryIO, end: int, small: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """The same values from the 64-bit records, which are directly before the end record.

    Python writes them from 2 GiB on, beside values that have their place in the end record too;
    readers use one or the other.
    """
    start = end - _LOCATOR_64.size
    locator = _at(file, start, _LOCATOR_64.size) if start > 0 else b""
    if not locator.startswith(b"PK\6\7"):
        return (end, *small)
    _, _, place, _ = _LOCATOR_64.unpack(locator)
    record = _at(file, place, _END_64.size) if place + _END_64.size <= start else b""
    if not record.startswith(b"PK\6\6"):
        raise UnusableArchive("its 64-bit end record is missing")
    _, remaining, _, _, _, _, _, entries, size, offset = _END_64.unpack(record)
    if place + 12 + remaining != start:
        raise UnusableArchive("there are other bytes between its end records")
    for value, given, full in zip((entries, size, offset), small, _FULL, strict=True):
        if given not in (value, full):
            raise UnusableArchive("its end records do not agree")
    return place, entries, size, offset


def _check_members(archive: zipfile.ZipFile) -> None:
    members = archive.infolist()
    if any(count > 1 for count in Counter(info.orig_filename for info in members).values()):
        raise UnusableArchive("it has two members of one name")
    for info in members:
        name = info.orig_filename
        if info.flag_bits & _ENCRYPTED:
            raise UnusableArchive("it is encrypted")
        if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise UnusableArchive("it is compressed in an unusual way")
        if not name or "\0" in name or name.startswith("/") or ".." in name.split("/"):
            raise UnusableArchive("it has a member with an unsafe name")
    packed = sum(info.compress_size for info in members)
    check_ratio(packed, sum(info.file_size for info in members), HARMLESS_UNPACKED)


def _check_local_headers(file: BinaryIO, archive: zipfile.ZipFile) -> None:
    """Streaming readers see only local headers; they must agree with the central directory."""
    expected, slack = 0, 0
    for info in sorted(archive.infolist(), key=lambda info: info.header_offset):
        if not expected <= info.header_offset <= expected + slack:
            raise UnusableArchive("its members overlap or leave gaps")
        expected = _end_of(file, info)
        slack = _DESCRIPTOR if info.flag_bits & _SIZES_FOLLOW else 0
    if not expected <= archive.start_dir <= expected + slack:
        raise UnusableArchive("its members do not end where its directory begins")


def _end_of(file: BinaryIO, info: zipfile.ZipInfo) -> int:
    """The offset after the member's data. Raises ``UnusableArchive`` if its headers disagree."""
    header = _at(file, info.header_offset, _LOCAL_HEADER.size)
    magic, _, flags, method, _, _, _, packed, unpacked, length, extra = _LOCAL_HEADER.unpack(header)
    name = _at(file, info.header_offset + _LOCAL_HEADER.size, length)
    sizes_agree = (
        (packed, unpacked) == (info.compress_size, info.file_size)
        or flags & _SIZES_FOLLOW
        or _FULL[1] in (packed, unpacked)
    )
    local = (magic, method, flags & _SIZES_FOLLOW, name.decode(_coding(flags)))
    listed = (b"PK\3\4", info.compress_type, info.flag_bits & _SIZES_FOLLOW, info.orig_filename)
    if local != listed or not sizes_agree:
        raise UnusableArchive("its headers contradict each other")
    end: int = info.header_offset + _LOCAL_HEADER.size + length + extra + info.compress_size
    return end


def _coding(flags: int) -> str:
    return "utf-8" if flags & _UTF_8 else "cp437"


def _at(file: BinaryIO, offset: int, size: int) -> bytes:
    file.seek(offset)
    return file.read(size)
