"""Reads tar archives (sdists) as a stream, in bounded memory; ``archive`` knows the members."""

from __future__ import annotations

import bz2
import lzma
import tarfile
import zlib
from collections.abc import Iterator
from typing import IO, BinaryIO, cast

from proxy.distributions.archive_limits import (
    MEMBER_LIMIT,
    METADATA_LIMIT,
    UnusableArchive,
    check_ratio,
)

MAX_SEARCHED = 200 * 1024 * 1024
"""Unpacked bytes in which members are searched."""

MAX_UNPACKED = 2 * 1024 * 1024 * 1024
"""Unpacked bytes that any stream may have, however small: a few seconds of work."""

_CHUNK = 256 * 1024
_GZIP_MAGIC = b"\x1f\x8b"

# Errors of tarfile and the decompressors; a chain of extended headers ends in RecursionError.
# OSError is not among them: it is an error of the disk.
_TAR_ERRORS = (
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    ValueError,
    OverflowError,
    RecursionError,
)


def check_stream(file: BinaryIO, filename: str) -> None:
    """Raises ``UnusableArchive`` if the compressed stream is broken, cut short or a bomb.

    A file that is still being copied is cut short.
    """
    unpacked = 0
    for chunk in _unpacked(file, filename):
        unpacked += len(chunk)
        check_ratio(file.tell(), unpacked, MAX_UNPACKED)


def read_at_depth_two(file: BinaryIO, filename: str, name: str) -> bytes:
    """The content of ``<directory>/<name>`` below the only top-level directory.

    Raises ``UnusableArchive`` if there is none, or more than one.
    """
    stream = cast(IO[bytes], _Stream(_unpacked(file, filename)))
    found: list[bytes] = []
    tops: set[str] = set()
    try:
        with tarfile.open(fileobj=stream, mode="r|", bufsize=_CHUNK) as archive:
            for parts, member in _members(archive):
                tops.add(parts[0])
                if parts[1:] == [name]:
                    found.append(_content(archive, member))
    except _TooLarge:
        if not found:
            raise
    except UnusableArchive:
        raise
    except _TAR_ERRORS as error:
        raise UnusableArchive("it is not a valid tar archive") from error
    if len(tops) != 1 or len(found) != 1:
        raise UnusableArchive(f"it has no single {name} in one top-level directory")
    return found[0]


class _TooLarge(UnusableArchive):
    """The limit is reached before the end of the archive."""


def _members(archive: tarfile.TarFile) -> Iterator[tuple[list[str], tarfile.TarInfo]]:
    """Each member with the parts of its name."""
    for count, member in enumerate(archive):
        if count >= MEMBER_LIMIT:
            raise UnusableArchive("it has too many members")
        parts = [part for part in member.name.split("/") if part not in ("", ".")]
        if member.name.startswith("/") or ".." in parts:
            raise UnusableArchive("it has a member with an unsafe name")
        if parts:
            yield parts, member


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = archive.extractfile(member) if member.isreg() and not member.issparse() else None
    if content is None or member.size > METADATA_LIMIT:
        raise UnusableArchive("its metadata is too large or no regular file")
    return content.read()


class _Stream:
    """Chunks as the file that tarfile needs, with a limit for the bytes that it reads."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._rest = b""
        self._left = MAX_SEARCHED

    def read(self, size: int) -> bytes:
        while len(self._rest) < size and (chunk := next(self._chunks, b"")):
            self._rest += chunk
        piece, self._rest = self._rest[:size], self._rest[size:]
        self._left -= len(piece)
        if self._left < 0:
            raise _TooLarge("it is too large to be searched")
        return piece


def _unpacked(file: BinaryIO, filename: str) -> Iterator[bytes]:
    file.seek(0)
    try:
        if filename.endswith((".gz", ".tgz")):
            yield from _gunzipped(file)
        elif filename.endswith(".bz2"):
            yield from _decompressed(file, bz2.BZ2Decompressor())
        elif filename.endswith(".xz"):
            yield from _decompressed(file, lzma.LZMADecompressor(memlimit=MAX_SEARCHED))
        else:
            yield from iter(lambda: file.read(_CHUNK), b"")
    except (zlib.error, lzma.LZMAError, EOFError) as error:
        raise UnusableArchive("its compressed data are damaged") from error


def _gunzipped(file: BinaryIO) -> Iterator[bytes]:
    """The members of a gzip file (RFC 1952); bytes after the last member are ignored."""
    data = file.read(_CHUNK)
    if not data.startswith(_GZIP_MAGIC):
        raise UnusableArchive("it is not compressed with gzip")
    while data.startswith(_GZIP_MAGIC):
        member = zlib.decompressobj(wbits=31)
        while not member.eof:
            chunk = member.decompress(data, _CHUNK)
            yield chunk
            data = member.unconsumed_tail or (b"" if member.eof else file.read(_CHUNK))
            if not (chunk or data or member.eof):
                raise UnusableArchive("it ends too early; perhaps it is not yet complete")
        data = member.unused_data
        if len(data) < len(_GZIP_MAGIC):
            data += file.read(_CHUNK)


def _decompressed(
    file: BinaryIO, member: bz2.BZ2Decompressor | lzma.LZMADecompressor
) -> Iterator[bytes]:
    while not member.eof:
        data = file.read(_CHUNK) if member.needs_input else b""
        if member.needs_input and not data:
            raise UnusableArchive("it ends too early; perhaps it is not yet complete")
        try:
            yield member.decompress(data, _CHUNK)
        except OSError as error:  # bz2 raises it for invalid data; no file is read here
            raise UnusableArchive("its compressed data are damaged") from error
