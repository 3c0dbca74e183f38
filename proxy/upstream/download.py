"""One file that is arriving from upstream, and its readers, each at its own speed.

The receiver appends bytes and ends the download; readers wait for bytes and take them.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager

from proxy.errors import ProxyError, StoreDamaged, UpstreamError
from proxy.model import Blob, Span
from proxy.runtime import PIECE_SIZE, in_thread
from proxy.upstream.digest_check import DigestCheck, Expected
from proxy.upstream.spool import Buffer, Spool, Window

WITHHELD = 64 * 1024
"""Bytes at the end of an answer that are sent only after the whole file is verified: no complete
answer ever has wrong bytes. Files of this size and less are sent only after verification."""
MAX_SPAN = 4 * 2**20
"""Bytes of one span. A reader shows that it still reads by taking the next one."""


class Download(Blob):
    """A blob that can be read while it arrives, by any number of readers."""

    def __init__(self, expected: Expected, buffer: Buffer, *, patience: float) -> None:
        """``patience``: seconds; see ``_make_room``."""
        self.expected = expected
        self.buffer = buffer
        self.verified = False
        """All bytes have arrived, and are right."""
        self._patience = patience
        self._total: int | None = expected.size
        self._answered = False
        self._shown = 0  # bytes that readers may know of
        self._safe = 0  # without the newest piece of these, which may be the end of the file
        self._error: ProxyError | None = None
        self._readers: set[_Reader] = set()
        self._was_read = False
        self._changed = asyncio.Event()  # replaced at each change
        self._reader_moved = asyncio.Event()  # not all readers have to wake when one moves

    # For requests.

    @property
    def size(self) -> int | None:
        return self._total

    @property
    def needs_download(self) -> bool:
        return True

    async def length(self) -> int | None:
        """Bytes, once upstream has answered, if the index names none. Raises ``UpstreamError``."""
        while self._total is None and not self._answered:
            await self._next_change()
        return self._total

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        return _Reader(self, start, stop).chunks()

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Span | bytes, None]:
        return _Reader(self, start, stop).spans()

    @property
    def readers(self) -> int:
        """How many are reading it now."""
        return len(self._readers)

    @property
    def joinable(self) -> bool:
        """Whether a new reader can still get the first byte."""
        return self.buffer.is_complete and self._error is None

    # For the receiver.

    async def begin(self, total: int | None) -> None:
        """Upstream answers with the first byte; ``total``: the bytes of the file, if known.

        Raises ``UpstreamError`` if an earlier answer named another length.
        """
        await self.buffer.restart()
        if self._answered and self._total not in (None, total):
            raise self._failure("changed while it was downloaded")
        self._answered = True
        self._total = total
        self._notify()

    async def append(self, data: bytes, check: DigestCheck, *, encoded: bool) -> None:
        """Keep the next bytes, and show them to readers unless they are ``encoded``.

        ``check`` sees them as well. Raises ``DigestMismatch``, and ``UpstreamError`` if the bytes
        can be kept nowhere.
        """
        window = self.buffer.window
        if window is not None:
            await in_thread(check.update, data)
        elif not await self.buffer.write(data, check):
            if encoded:
                raise self._failure("cannot be decoded without room on the disk")
            window = self.buffer.open_window()
        if window is not None:
            await self._make_room(window)
            window.append(data)
        if not encoded:
            self._shown = self.buffer.end
            self._safe = self._shown - len(data)
            self._notify()

    async def start_over(self) -> bool:
        """Forget all bytes, which are wrong, unless a reader has some of them already."""
        if self.buffer.window or any(reader.has_some for reader in self._readers):
            return False
        await self.buffer.restart()
        self._total, self._answered, self._shown, self._safe = self.expected.size, False, 0, 0
        self._notify()
        return True

    def finish(self, spool: Spool) -> None:
        """All bytes are in ``spool``, continued by the window if there is one, and are right."""
        self.buffer.spool = spool
        self._total = self.buffer.end
        self._answered = self.verified = True
        self._notify()

    def fail(self, error: ProxyError) -> None:
        """No more bytes will come; readers get the error. Nothing happens after ``finish``."""
        if not self.verified:
            self._error = error
            self.buffer.spool.close()
            self._notify()

    async def _make_room(self, window: Window) -> None:
        """Wait until the slowest reader lets the window move on.

        The first reader has ``patience`` seconds to come. A reader that takes nothing for as
        long while others wait is dropped. Raises ``UpstreamError`` if no reader is left.
        """
        while True:
            self._reader_moved.clear()
            window.forget(self._first_wanted(window))
            if self._was_read and not self._readers:
                break
            if not window.full:
                return
            try:
                async with asyncio.timeout(self._patience):
                    await self._reader_moved.wait()
            except TimeoutError:
                if not self._readers:
                    break
                self._drop_slowest(self._first_wanted(window))
        raise self._failure("cannot be stored, and no client reads it")

    def _first_wanted(self, window: Window) -> int:
        """The offset before which no reader needs the window."""
        wanted = [reader.at for reader in self._readers if not reader.has_all]
        return min(wanted, default=window.end if self._readers else 0)

    def _drop_slowest(self, slowest: int) -> None:
        """Drop the readers at that offset, if other readers wait for them."""
        dropped = {each for each in self._readers if each.at <= slowest and not each.has_all}
        if dropped != self._readers:
            for reader in dropped:
                reader.dropped = True
            self._readers -= dropped

    def _failure(self, problem: str) -> UpstreamError:
        return UpstreamError(self.expected.index, f"{self.expected.what} {problem}")

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    # For readers.

    @contextmanager
    def _read_by(self, reader: _Reader) -> Iterator[None]:
        self._readers.add(reader)
        self._was_read = True
        self._reader_moved.set()
        try:
            yield
        finally:
            self._readers.discard(reader)
            self._reader_moved.set()

    def _reach(self, stop: int | None) -> int:
        """The offset up to which a reader that stops at ``stop`` may have bytes by now."""
        end = self._end(stop)
        if self.verified and end is not None:
            return end
        given = self._safe if self._total is None else self._shown
        return given if end is None else min(given, end - WITHHELD)

    def _unverified_end(self, stop: int | None) -> int | None:
        """The end of an answer that has arrived, but must not wait in the window for its check."""
        end = self._end(stop)
        return end if self.buffer.window and end is not None and self._shown >= end else None

    def _end(self, stop: int | None) -> int | None:
        known = [each for each in (stop, self._total) if each is not None]
        return min(known, default=None)

    async def _next_change(self) -> None:
        """Wait until anything has changed. Raises the error of a failed download."""
        self._raise_error()
        await self._changed.wait()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)


class _Reader:
    """One reader of a download. The download knows it from its first bytes to its end."""

    def __init__(self, download: Download, start: int, stop: int | None) -> None:
        self._download = download
        self._stop = stop
        self.at = start
        """Offset of the next byte."""
        self.has_some = False
        """It has taken bytes."""
        self.has_all = False
        """It has all bytes of its range, and waits only for the digest check."""
        self.dropped = False
        """It was too slow, and the bytes that it needs are gone."""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As ``Blob``."""
        with self._download._read_by(self):
            while piece := await self._next():
                self.has_some = True
                yield piece
                if self._download.verified and self.at >= self._download._reach(self._stop):
                    return
                await asyncio.sleep(0)  # a fast reader never waits; other tasks need the loop

    async def spans(self) -> AsyncGenerator[Span | bytes, None]:
        """As ``FileBlob``."""
        fd = -1
        with self._download._read_by(self):
            try:
                while True:
                    if (end := await self._file_reach()) is not None:
                        if fd < 0:
                            # A descriptor of this reader: a download that fails closes its own.
                            fd = os.dup(self._download.buffer.spool.fd)
                        self.has_some = True
                        yield Span(fd, self.at, end, lasting=True)
                        self._move_to(end)
                    elif piece := await self._next():
                        self.has_some = True
                        yield piece
                    else:
                        return
            finally:
                if fd >= 0:
                    os.close(fd)

    async def _file_reach(self) -> int | None:
        """The end of the next span; None if the next bytes, if any, are in memory."""
        download, buffer = self._download, self._download.buffer
        while buffer.small is None and (reach := download._reach(self._stop)) <= self.at:
            if download.verified or buffer.window is not None:
                return None
            await download._next_change()
        if buffer.small is not None:
            return None
        download._raise_error()
        end = reach if buffer.window is None else min(reach, buffer.spool.written)
        return min(end, self.at + MAX_SPAN) if end > self.at else None

    async def _next(self) -> bytes:
        download = self._download
        while (reach := download._reach(self._stop)) <= self.at:
            if download.verified:
                return b""
            if (end := download._unverified_end(self._stop)) is not None and end > self.at:
                return await self._withheld(end)
            await download._next_change()
        return await self._read(reach)

    async def _withheld(self, end: int) -> bytes:
        """The last piece: taken at once, so that the window can move on; given when verified."""
        pieces = []
        while self.at < end:
            pieces.append(await self._read(end))
        self.has_all = True
        self._download._reader_moved.set()
        while not self._download.verified:
            await self._download._next_change()
        return b"".join(pieces)

    async def _read(self, end: int) -> bytes:
        download = self._download
        download._raise_error()
        if self.dropped:
            raise download._failure("cannot be stored, and was read too slowly")
        piece = await download.buffer.read(self.at, min(PIECE_SIZE, end - self.at))
        download._raise_error()
        if not piece:
            raise StoreDamaged(download.expected.what)
        self._move_to(self.at + len(piece))
        return piece

    def _move_to(self, at: int) -> None:
        self.at = at
        self._download._reader_moved.set()
