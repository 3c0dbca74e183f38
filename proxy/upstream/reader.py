"""One of those who read a download while it arrives, at its own speed."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from proxy.errors import StoreDamaged, UpstreamError
from proxy.storage.base import Span
from proxy.storage.reading import PIECE_SIZE

if TYPE_CHECKING:
    from proxy.upstream.download import Download


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

    async def chunks(self) -> AsyncIterator[bytes]:
        """As ``Blob``."""
        with self._download.read_by(self):
            while piece := await self._next():
                yield piece
                if self._download.verified and self.at >= self._download.reach(self._stop):
                    return
                await asyncio.sleep(0)  # a fast reader never waits, others want the loop too

    async def spans(self) -> AsyncIterator[Span | bytes]:
        """As ``FileBlob``."""
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
