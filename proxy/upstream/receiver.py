"""Brings a file from upstream into its spool, over broken connections, and says if it is right.

What the answers that bring one file have to agree on, where a connection broke.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import logging
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from proxy.errors import DigestMismatch, UpstreamError, reason
from proxy.runtime import in_thread
from proxy.upstream.answer_body import Chunking
from proxy.upstream.answers import Body, Fetch
from proxy.upstream.content_coding import choose_bytes, raw_check
from proxy.upstream.digest_check import DigestCheck, Expected
from proxy.upstream.download import Download
from proxy.upstream.spool import Spool, Window

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


PART = 16 * 1024
"""Bytes that a part has to bring, if the next one is to be asked for."""


class ResumeState:
    """Follows the answers of one download, the first and those that go on with it.

    Its methods raise ``UpstreamError`` where an answer is none to go on with.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self.begun = False
        """There was an answer."""
        self.encoding: str | None = None
        """Of the answers: such cannot be resumed, they begin anew."""
        self._total: int | None = None
        self._etag: str | None = None
        self._seen: _Seen | None = None

    def next_range(self, have: int) -> tuple[int, str | None]:
        """As ``Fetch`` takes it, where so many bytes are here."""
        return (have, self._etag) if have and self._etag else (0, None)

    def begin(self, body: Body) -> None:
        """Nobody has seen a byte yet."""
        if body.start:
            raise self.error("answered with another part of it")
        self.begun = True
        self.encoding, self._total = body.encoding, body.total
        self._etag = None if body.encoding else body.etag
        self._seen = None

    def accept(self, body: Body, have: int, sha256: str) -> None:
        """Readers have seen so many bytes with that sha256, which must stay right."""
        asked, self._etag, self._seen = self._etag, None, None
        if body.encoding or (None not in (self._total, body.total) and body.total != self._total):
            raise self.error("was answered otherwise than before")
        if body.start == 0:
            self._seen = _Seen(have, sha256, body.etag)
        elif self._total is None and body.total is None:
            raise self.error("was resumed without its length")
        elif body.start == have and body.etag in (asked, None):
            self._etag = asked
        else:
            raise self.error("was not resumed where it broke off")
        self._total = self._total if body.total is None else body.total

    @property
    def repeats(self) -> bool:
        """What comes next has come before."""
        return self._seen is not None and self._seen.left > 0

    def new(self, data: bytes) -> bytes:
        """What is new in ``data``. Raises ``DigestMismatch`` if the rest is not what it was."""
        seen = self._seen
        if seen is None:
            return data
        data = seen.skip(data)
        if not seen.left:
            if not seen.same:
                what = f"{self._expected.what} changed while it was fetched"
                raise DigestMismatch(self._expected.index, what)
            self._etag = seen.etag
        return data

    def is_whole(self, body: Body, have: int, length: int) -> bool:
        """Whether the file has ended with this answer, which brought the bytes from ``have`` on.

        False: it was a part, and the next one can be asked for.
        """
        total = self._total
        if total is None and not self.encoding:
            total = self._expected.size
        if not self.repeats and (total is None or length >= total):
            return True
        if body.stop != length:
            raise self.error("ended early")
        if length - have < PART:
            self._etag = None  # such parts lead nowhere: the next request has no range
            raise self.error("came in very small parts")
        return False

    def error(self, problem: str) -> UpstreamError:
        return UpstreamError(self._expected.index, f"{self._expected.what} {problem}")


class _Seen:
    """Bytes that came before a break, recognised when they all come again."""

    def __init__(self, length: int, sha256: str, etag: str | None) -> None:
        self.left = length
        self.etag = etag
        """Of the answer they come in; worth something once they are the same."""
        self._sha256 = sha256
        self._again = hashlib.sha256()

    @property
    def same(self) -> bool:
        return self._again.hexdigest() == self._sha256

    def skip(self, data: bytes) -> bytes:
        old, new = data[: self.left], data[self.left :]
        self._again.update(old)
        self.left -= len(old)
        return new
