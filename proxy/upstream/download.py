"""One file on its way from upstream, as its readers see it: a blob that is still growing.

How it is brought here is in ``receiving``, who owns it in ``downloads``.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

from proxy.errors import ProxyError, StoreDamaged, UpstreamError
from proxy.storage.base import Span
from proxy.storage.reading import PIECE
from proxy.upstream.spool import Spool, Window
from proxy.upstream.verify import Expected

TAIL = 64 * 1024
"""Bytes at the end of an answer that are given only once the whole file is known to be right,
so that no complete answer ever has wrong bytes. Smaller files are never begun in vain."""


class _Reader:
    def __init__(self, at: int) -> None:
        self.at = at
        self.has_all = False


class Download:
    """A blob readable while it arrives, by any number of readers, each at its own speed."""

    def __init__(self, expected: Expected, spool: Spool) -> None:
        self.expected = expected
        self.spool = spool
        self.window: Window | None = None
        """Continues the spool where that could not be written any more."""
        self._content = object()  # what readers have seen of it stays as it is
        self._shown = 0  # bytes that readers may know of
        self._safe = 0  # those of them that are not the newest: cannot be the end of the file
        self._total: int | None = expected.size
        self._opened = False
        self._verified = False
        self._error: ProxyError | None = None
        self._readers: set[_Reader] = set()
        self._was_read = False
        self._news = asyncio.Event()

    # What readers use.

    @property
    def size(self) -> int | None:
        return self._total

    async def length(self) -> int | None:
        """Asks upstream, where the index does not tell. Raises ``UpstreamError``."""
        while self._total is None and not self._opened:
            await self._next_news()
        return self._total

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        reader = _Reader(start)
        self._readers.add(reader)
        self._was_read = True
        self._tell()
        try:
            while piece := await self._next(reader, stop):
                yield piece
                if self._verified and reader.at >= self._reach(stop):
                    return
                await asyncio.sleep(0)  # a fast reader never waits, others want the loop too
        finally:
            self._readers.discard(reader)
            self._tell()

    async def spans(self, start: int = 0, stop: int | None = None) -> AsyncIterator[Span]:
        """As ``FileBlob``; ends where the download goes on in memory."""
        reader = _Reader(start)
        self._readers.add(reader)
        self._was_read = True
        self._tell()
        fd = -1
        try:
            while (end := await self._file_reach(reader, stop)) is not None:
                if fd < 0:
                    fd = os.dup(self.spool.fd)  # ours, should the download fail meanwhile
                yield Span(fd, reader.at, end, self._content)
                reader.at = end
        finally:
            if fd >= 0:
                os.close(fd)
            self._readers.discard(reader)
            self._tell()

    async def _file_reach(self, reader: _Reader, stop: int | None) -> int | None:
        """The offset up to which the reader can go on in the file; None at the end of that."""
        while (reach := self._reach(stop)) <= reader.at:
            if self._verified or self.window is not None:
                return None
            await self._next_news()
        self._raise_error()
        return reach if self.window is None else None

    @property
    def joinable(self) -> bool:
        """Whether a new reader can still have the first byte."""
        whole = self.window is None or self.window.base == self.spool.written
        return whole and self._error is None

    async def _next(self, reader: _Reader, stop: int | None) -> bytes:
        while (reach := self._reach(stop)) <= reader.at:
            if self._verified:
                return b""
            if (end := self._in_memory_up_to(stop)) is not None and end > reader.at:
                return await self._withheld(reader, end)
            await self._next_news()
        return await self._read(reader, reach)

    def _end(self, stop: int | None) -> int | None:
        known = [each for each in (stop, self._total) if each is not None]
        return min(known, default=None)

    def _reach(self, stop: int | None) -> int:
        """The offset up to which a reader that stops at ``stop`` may have bytes by now."""
        end = self._end(stop)
        if self._verified and end is not None:
            return end
        given = self._safe if self._total is None else self._shown
        return given if end is None else min(given, end - TAIL)

    def _in_memory_up_to(self, stop: int | None) -> int | None:
        """The end of an answer that is all there, but must not wait in the window."""
        end = self._end(stop)
        return end if self.window and end is not None and self._shown >= end else None

    async def _withheld(self, reader: _Reader, end: int) -> bytes:
        """The last piece: taken at once, so that the window can move on, and given when right."""
        pieces = []
        while reader.at < end:
            pieces.append(await self._read(reader, end))
        reader.has_all = True
        while not self._verified:
            await self._next_news()
        return b"".join(pieces)

    async def _read(self, reader: _Reader, end: int) -> bytes:
        self._raise_error()
        piece = await self._held(reader.at, min(PIECE, end - reader.at))
        self._raise_error()
        if not piece:
            raise StoreDamaged(self.expected.what)
        reader.at += len(piece)
        if self.window is not None:
            self._tell()
        return piece

    async def _held(self, at: int, size: int) -> bytes:
        if self.window is not None and at >= self.spool.written:
            return self.window.read(at, size)
        try:
            return await self.spool.read(at, min(size, self.spool.written - at))
        except OSError:
            return b""

    async def _next_news(self) -> None:
        self._raise_error()
        await self._news.wait()
        self._raise_error()

    def _raise_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _tell(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    # What the task that brings the bytes uses.

    @property
    def arrived(self) -> int:
        """Bytes that can be read by now, right or not."""
        return self.spool.written if self.window is None else self.window.end

    def open(self, total: int | None) -> None:
        """Upstream has answered. Raises ``UpstreamError`` if it once promised another length."""
        if self._opened and self._total not in (None, total):
            raise UpstreamError(self.expected.index, f"{self.expected.what} changed meanwhile")
        self._opened = True
        self._total = total
        self._tell()

    def progress(self, newest: int) -> None:
        """That many more bytes have been written, and readers may have them."""
        self._shown = self.arrived
        self._safe = self._shown - newest
        self._tell()

    def finish(self, spool: Spool) -> None:
        """All bytes are there, in ``spool`` or beyond it in the window, and they are right."""
        self.spool = spool
        self._total = self.arrived
        self._opened = self._verified = True
        self._tell()

    def fail(self, error: ProxyError) -> None:
        """No more will come, unless all has come already."""
        if not self._verified:
            self._error = error
            self.spool.close()
            self._tell()

    async def room(self, patience: float) -> None:
        """Wait until the slowest reader lets the window move on.

        ``patience``: seconds for the first reader to come. Raises ``UpstreamError`` where
        nobody reads any more: it would be for nothing.
        """
        assert self.window is not None
        while True:
            wanted = [reader.at for reader in self._readers if not reader.has_all]
            self.window.forget(min(wanted, default=self.window.end if self._readers else 0))
            if self._was_read and not self._readers:
                break
            if not self.window.full:
                return
            try:
                async with asyncio.timeout(None if self._readers else patience):
                    await self._news.wait()
            except TimeoutError:
                break
        raise UpstreamError(self.expected.index, f"{self.expected.what} cannot be kept")
