"""Brings a file from upstream into its spool, over broken connections, and says if it is right."""

from __future__ import annotations

import asyncio
import errno
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from proxy.errors import DigestMismatch, UpstreamError, reason
from proxy.storage.reading import in_thread
from proxy.upstream.body import Body, Fetch
from proxy.upstream.download import Download
from proxy.upstream.gathering import Chunking
from proxy.upstream.mislabelled import choose_bytes, raw_check
from proxy.upstream.resuming import ResumeState
from proxy.upstream.spool import Spool, Window
from proxy.upstream.verify import DigestCheck

log = logging.getLogger(__name__)

SMALL_FILE = 64 * 1024
"""Bytes that are hashed and written where they arrive."""


class Receiver:
    """The writing side of one download."""

    def __init__(
        self, download: Download, fetch: Fetch, folder: Path, *, memory: int, patience: float
    ) -> None:
        """``memory``: bytes held where the disk takes none; ``patience`` as in ``room``."""
        self._download = download
        self._expected = download.expected
        self._fetch = fetch
        self._folder = folder
        self._memory = memory
        self._patience = patience
        self._check = DigestCheck(self._expected)
        self._resuming = ResumeState(self._expected)
        self._opening: asyncio.Task[None]

    async def receive(self, pauses: Sequence[float]) -> str:
        """Fetch, verify and show all of it; its sha256. ``pauses``: seconds before each resume.

        Raises ``DigestMismatch`` where the bytes are wrong, ``UpstreamError`` where they
        cannot be had, and what the fetch raises.
        """
        self._opening = asyncio.create_task(self._open())
        try:
            return await self._persist(pauses)
        finally:
            await self._opened()

    async def _open(self) -> None:
        """Make the spool's file while upstream is asked; where that fails, writing will too."""
        with suppress(OSError):
            await in_thread(self._download.spool.open)

    async def _opened(self) -> None:
        if not self._opening.done():  # to wait for what has ended takes as long as to write it
            await asyncio.wait({self._opening})

    async def _persist(self, pauses: Sequence[float]) -> str:
        for pause in (*pauses, None):
            try:
                while not await self._attempt():
                    pass
                return await self._verify()
            except DigestMismatch:
                raise
            except UpstreamError as error:
                if self._has_all():
                    return await self._verify()
                if pause is None or not self._resuming.begun:
                    raise
                log.info("%s: %s; going on in %g s", self._expected.what, error, pause)
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _attempt(self) -> bool:
        """Whether the answer brought the file to its end; else it was a part of it."""
        have = self._download.arrived
        async with self._fetch(*self._resuming.next_range(have)) as body:
            if have == 0 or self._resuming.encoding:
                await self._begin(body)
            else:
                self._resuming.accept(body, have, self._check.sha256)
            async with Chunking(body.chunks) as pieces:
                async for piece in pieces:
                    await self._keep(piece)
        return self._resuming.is_whole(body, have, self._check.length)

    def _has_all(self) -> bool:
        """Whether only the end of the answer was missing: the digest shows it."""
        return self._resuming.begun and not self._resuming.encoding and self._check.proven

    async def _begin(self, body: Body) -> None:
        self._resuming.begin(body)
        await self._opened()
        self._check = (raw_check if body.encoding else DigestCheck)(self._expected)
        if self._download.spool.written:
            await in_thread(self._download.spool.restart)
        if body.encoding:
            self._download.open(self._expected.size)
            return
        self._check.check_announced_length(body.total)
        self._download.open(self._expected.size if body.total is None else body.total)

    async def _keep(self, data: bytes) -> None:
        if (
            not self._download.arrived and len(data) > SMALL_FILE
        ):  # no reader waits for more than this
            await self._keep(data[:SMALL_FILE])
            await asyncio.sleep(0)  # it is sent before a thread has the rest
            data = data[SMALL_FILE:]
        if self._resuming.repeats:
            data = await in_thread(self._resuming.new, data)
        if not data:
            return
        if self._download.window is None and not await self._written(data):
            if self._resuming.encoding:
                raise self._resuming.error("cannot be decoded without room on the disk")
            self._download.window = Window(self._download.spool.written, self._memory)
        elif self._download.window is not None:
            await in_thread(self._check.update, data)
        if self._download.window is not None:
            await self._download.room(self._patience)
            self._download.window.append(data)
        if not self._resuming.encoding:
            self._download.progress(len(data))

    async def _written(self, data: bytes) -> bool:
        """A thread for little would cost more time than it is worth."""
        if len(data) <= SMALL_FILE:
            return self._write(data)
        return await in_thread(self._write, data)

    def _write(self, data: bytes) -> bool:
        self._check.update(data)
        try:
            self._download.spool.write(data)
        except OSError as error:
            # Of a folder that can only be read the log says so at the start, once.
            level = logging.DEBUG if error.errno in (errno.EROFS, errno.EACCES) else logging.WARNING
            what = self._expected.what
            log.log(level, "%s is passed on without being kept: %s", what, reason(error))
            return False
        return True

    async def _verify(self) -> str:
        spool = self._download.spool
        if self._resuming.encoding is None:
            sha256 = self._check.finish()
        else:
            spool, sha256 = await in_thread(self._settle, self._resuming.encoding)
        self._download.finish(spool)
        return sha256

    def _settle(self, encoding: str) -> tuple[Spool, str]:
        raw, decoded = self._download.spool, Spool(self._folder)
        kept: Spool | None = None
        try:
            kept, sha256 = choose_bytes(raw, self._check, self._expected, encoding, decoded)
            return kept, sha256
        except OSError:
            raise self._resuming.error("cannot be decoded without room on the disk") from None
        finally:
            for spool in {raw, decoded} - {kept}:
                spool.close()
