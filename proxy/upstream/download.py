"""One file on its way from upstream: a blob that is still growing, and what of it may be given.

How it is brought here is in ``receiving``, how it is read in ``reader``, who owns it in
``downloads``.

One of those who read a download while it arrives, at its own speed.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from proxy.errors import ProxyError, StoreDamaged, UpstreamError
from proxy.model import Blob, Span
from proxy.runtime import PIECE_SIZE
from proxy.upstream.digest_check import Expected
from proxy.upstream.spool import Spool, Window

if TYPE_CHECKING:
    pass  # MOVED

WITHHELD = 64 * 1024
"""Bytes at the end of an answer that are given only once the whole file is known to be right,
so that no complete answer ever has wrong bytes. Smaller files are never begun in vain."""


class Download(Blob):
    """A blob readable while it arrives, by any number of readers, each at its own speed."""

    def __init__(self, expected: Expected, spool: Spool) -> None:
        self.expected = expected
        self.spool = spool
        self.window: Window | None = None
        """Continues the spool where that could not be written any more."""
        self.verified = False
        """All bytes are there, and right."""
        self._shown = 0  # bytes that readers may know of
        self._safe = 0  # those of them that are not the newest: cannot be the end of the file
        self._total: int | None = expected.size
        self._opened = False
        self._error: ProxyError | None = None
        self._readers: set[Reader] = set()
        self._was_read = False
        self._news = asyncio.Event()
        self._moved = asyncio.Event()  # of its own: not all readers are to wake for each of them

    # What who wants it uses.

    @property
    def size(self) -> int | None:
        return self._total

    @property
    def needs_download(self) -> bool:
        return True

    async def length(self) -> int | None:
        """Asks upstream, where the index does not tell. Raises ``UpstreamError``."""
        while self._total is None and not self._opened:
            await self.news()
        return self._total

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        return Reader(self, start, stop).chunks()

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Span | bytes, None]:
        return Reader(self, start, stop).spans()

    @property
    def joinable(self) -> bool:
        """Whether a new reader can still have the first byte."""
        whole = self.window is None or self.window.base == self.spool.written
        return whole and self._error is None

    # What readers use.

    @contextmanager
    def read_by(self, reader: Reader) -> Iterator[None]:
        self._readers.add(reader)
        self._was_read = True
        self.moved()
        try:
            yield
        finally:
            self._readers.discard(reader)
            self.moved()

    def reach(self, stop: int | None) -> int:
        """The offset up to which a reader that stops at ``stop`` may have bytes by now."""
        end = self._end(stop)
        if self.verified and end is not None:
            return end
        given = self._safe if self._total is None else self._shown
        return given if end is None else min(given, end - WITHHELD)

    def in_memory_up_to(self, stop: int | None) -> int | None:
        """The end of an answer that is all there, but must not wait in the window."""
        end = self._end(stop)
        return end if self.window and end is not None and self._shown >= end else None

    async def held(self, at: int, size: int) -> bytes:
        """Some of the bytes from ``at`` on; none where they are lost."""
        if self.window is not None and at >= self.spool.written:
            return self.window.read(at, size)
        try:
            return await self.spool.read(at, min(size, self.spool.written - at))
        except OSError:
            return b""

    def moved(self) -> None:
        """A reader has come, has read on, or has left."""
        self._moved.set()

    async def news(self) -> None:
        """Wait until anything has changed. Raises why no more will come."""
        self.raise_error()
        await self._news.wait()
        self.raise_error()

    def raise_error(self) -> None:
        if self._error is not None:
            raise self._error.with_traceback(None)

    def _end(self, stop: int | None) -> int | None:
        known = [each for each in (stop, self._total) if each is not None]
        return min(known, default=None)

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
        self._opened = self.verified = True
        self._tell()

    def fail(self, error: ProxyError) -> None:
        """No more will come, unless all has come already."""
        if not self.verified:
            self._error = error
            self.spool.close()
            self._tell()

    async def room(self, patience: float) -> None:
        """Wait until the slowest reader lets the window move on.

        ``patience``: seconds for the first reader to come, and for one that does not read while
        others wait: it is left behind. Raises ``UpstreamError`` where nobody reads any more: it
        would be for nothing.
        """
        assert self.window is not None
        while True:
            self._moved.clear()
            self.window.forget(self._wanted(self.window))
            if self._was_read and not self._readers:
                break
            if not self.window.full:
                return
            try:
                async with asyncio.timeout(patience):
                    await self._moved.wait()
            except TimeoutError:
                if not self._readers:
                    break
                self._leave_behind(self._wanted(self.window))
        raise UpstreamError(self.expected.index, f"{self.expected.what} cannot be kept")

    def _wanted(self, window: Window) -> int:
        """The offset before which nobody needs the window."""
        wanted = [reader.at for reader in self._readers if not reader.has_all]
        return min(wanted, default=window.end if self._readers else 0)

    def _leave_behind(self, slowest: int) -> None:
        """Readers that are no further than that, for the sake of those that are, or have all."""
        left = {each for each in self._readers if each.at <= slowest and not each.has_all}
        if left != self._readers:
            for reader in left:
                reader.left_behind = True
            self._readers -= left


MAX_SPAN = 4 * 2**20
"""Bytes of the file that are given in one go: more would hide whether it still reads."""


class Reader:
    """How far it is, and what it gets next; known to the download from its first question on."""

    def __init__(self, download: Download, start: int, stop: int | None) -> None:
        self._download = download
        self._stop = stop
        self.at = start
        """Offset of the next byte."""
        self.has_all = False
        """It needs no more than to be told that what it has is right."""
        self.left_behind = False
        """Others could not wait for it any longer, and what it needs is gone."""

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """As ``Blob``."""
        with self._download.read_by(self):
            while piece := await self._next():
                yield piece
                if self._download.verified and self.at >= self._download.reach(self._stop):
                    return
                await asyncio.sleep(0)  # a fast reader never waits, others want the loop too

    async def spans(self) -> AsyncGenerator[Span | bytes, None]:
        """As ``Blob``."""
        fd = -1
        with self._download.read_by(self):
            try:
                while (end := await self._file_reach()) is not None:
                    if fd < 0:
                        # Ours, should the download fail meanwhile.
                        fd = os.dup(self._download.spool.fd)
                    yield Span(fd, self.at, end, lasting=True)
                    self.at = end
                    self._download.moved()
                while piece := await self._next():
                    yield piece
            finally:
                if fd >= 0:
                    os.close(fd)

    async def _file_reach(self) -> int | None:
        """The offset up to which it can go on in the file for now; None at the end of that."""
        download = self._download
        while (reach := download.reach(self._stop)) <= self.at:
            if download.verified or download.window is not None:
                return None  # what is left, if anything, lies in memory
            await download.news()
        download.raise_error()
        end = reach if download.window is None else min(reach, download.spool.written)
        return min(end, self.at + MAX_SPAN) if end > self.at else None

    async def _next(self) -> bytes:
        download = self._download
        while (reach := download.reach(self._stop)) <= self.at:
            if download.verified:
                return b""
            if (end := download.in_memory_up_to(self._stop)) is not None and end > self.at:
                return await self._withheld(end)
            await download.news()
        return await self._read(reach)

    async def _withheld(self, end: int) -> bytes:
        """The last piece: taken at once, so that the window can move on, and given when right."""
        pieces = []
        while self.at < end:
            pieces.append(await self._read(end))
        self.has_all = True
        self._download.moved()
        while not self._download.verified:
            await self._download.news()
        return b"".join(pieces)

    async def _read(self, end: int) -> bytes:
        download = self._download
        download.raise_error()
        if self.left_behind:
            what = f"{download.expected.what} cannot be kept, and was read too slowly"
            raise UpstreamError(download.expected.index, what)
        piece = await download.held(self.at, min(PIECE_SIZE, end - self.at))
        download.raise_error()
        if not piece:
            raise StoreDamaged(download.expected.what)
        self.at += len(piece)
        download.moved()
        return piece
