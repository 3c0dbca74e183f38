"""The bytes of one file in a zip archive that others may replace."""

from __future__ import annotations

import io
import os
import stat
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, BinaryIO

from proxy.distributions import UnusableArchive, ZipMember, unpack_zip_member
from proxy.errors import ProxyError
from proxy.model import Blob, Span
from proxy.runtime import in_thread
from proxy.storage import FileIdentity, identity_of

_OPEN_MEMBER = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK


def open_archive(path: Path) -> BinaryIO:
    """Raises ``OSError``, also for what is no regular file."""
    file = os.fdopen(os.open(path, _OPEN_MEMBER), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError("it is not a regular file")
    return file


class ZipMemberBlob(Blob):
    """A member of an archive; reading fails if the archive is not the same any more.

    Bytes that are not compressed are sent from the archive as from any file. Compressed ones are
    unpacked for each reader, for a range from the start of the file.
    """

    def __init__(
        self,
        archive: Path,
        identity: FileIdentity,
        member: ZipMember,
        changed: Callable[[], ProxyError],
    ) -> None:
        """``identity``: of the archive. ``changed`` makes the error for another archive."""
        self._archive = archive
        self._identity = identity
        self._member = member
        self._changed = changed

    @property
    def size(self) -> int:
        return self._member.size

    async def length(self) -> int:
        return self._member.size

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        """As ``Blob``. Raises the error of ``changed``."""
        end = self.size if stop is None else min(stop, self.size)
        file = self._open()
        try:
            pieces = unpack_zip_member(file, self._member, start)
            while start < end:
                piece = (await in_thread(next, pieces, b""))[: end - start]
                start += len(piece)
                if not piece or start >= end:
                    self._check(file)
                if not piece:
                    raise self._changed()
                yield piece
        except UnusableArchive as error:
            raise self._changed() from error
        finally:
            file.close()

    def spans(
        self, start: int = 0, stop: int | None = None
    ) -> AsyncGenerator[Span | bytes, None] | None:
        return self._stored_span(start, stop) if self._member.stored else None

    async def _stored_span(
        self, start: int, stop: int | None
    ) -> AsyncGenerator[Span | bytes, None]:
        end = self.size if stop is None else min(stop, self.size)
        file = self._open()
        try:
            if start < end:
                yield Span(file.fileno(), self._member.offset + start, self._member.offset + end)
            self._check(file)
        finally:
            file.close()

    def _open(self) -> BinaryIO:
        try:
            file = open_archive(self._archive)
        except OSError as error:
            raise self._changed() from error
        try:
            self._check(file)
        except ProxyError:
            file.close()
            raise
        return file

    def _check(self, file: BinaryIO) -> None:
        if identity_of(os.fstat(file.fileno())) != self._identity:
            raise self._changed()


class _MemberBytes(io.RawIOBase):
    """The bytes of a member that is not compressed, read from the archive."""

    def __init__(self, archive: BinaryIO, member: ZipMember) -> None:
        super().__init__()
        self._fd = archive.fileno()
        self._member = member
        self._position = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._member.size}
        self._position = max(0, base[whence] + offset)
        return self._position

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer)
        size = min(len(view), max(0, self._member.size - self._position))
        found = os.preadv(self._fd, [view[:size]], self._member.offset + self._position)
        self._position += found
        return found


def member_file(archive: BinaryIO, member: ZipMember) -> BinaryIO:
    """A member that is not compressed, as a file; valid while the archive is open."""
    return io.BufferedReader(_MemberBytes(archive, member))
