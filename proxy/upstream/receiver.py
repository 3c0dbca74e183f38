"""Fetches a file from upstream into its download, over broken connections, and verifies it."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path

from proxy.errors import DigestMismatch, UpstreamError
from proxy.runtime import in_thread
from proxy.upstream.answer_body import Chunking
from proxy.upstream.answers import Body, Fetch
from proxy.upstream.content_coding import choose_bytes, raw_check
from proxy.upstream.digest_check import DigestCheck, Expected
from proxy.upstream.download import Download
from proxy.upstream.spool import IN_MEMORY, SMALL_WRITE, Spool

log = logging.getLogger(__name__)

MIN_PART = 16 * 1024
"""Bytes that a partial answer has to bring, or the next request asks for the whole file."""


class Receiver:
    """Fetches one download, resumes it where a connection breaks, and verifies it."""

    def __init__(self, download: Download, fetch: Fetch, folder: Path) -> None:
        """``folder``: where a file is decoded that came with a content coding."""
        self._download = download
        self._expected = download.expected
        self._fetch = fetch
        self._folder = folder
        self._check = DigestCheck(self._expected)
        self._resume = ResumeState(self._expected)
        self._making_file: asyncio.Task[None] | None = None

    async def receive(self, pauses: Sequence[float]) -> str:
        """Fetch, verify and show the whole file; its sha256. ``pauses``: seconds before resumes.

        Raises ``DigestMismatch`` if the bytes are wrong, ``UpstreamError`` if upstream does not
        send them, and what the fetch raises.
        """
        if self._download.buffer.small is None:
            # While upstream is asked; its end is awaited also if that fails.
            self._making_file = asyncio.create_task(self._download.buffer.make_file())
        try:
            return await self._persist(pauses)
        finally:
            await self._file_made()

    async def _file_made(self) -> None:
        making = self._making_file
        if making and not making.done():  # waiting for a finished task takes as long as a write
            await asyncio.wait({making})

    async def _persist(self, pauses: Sequence[float]) -> str:
        for pause in (*pauses, None):
            try:
                while not await self._receive_answer():
                    pass
                return await self._verify()
            except DigestMismatch:
                raise
            except UpstreamError as error:
                if self._is_proven():
                    return await self._verify()
                if pause is None or not self._resume.begun:
                    raise
                log.info("%s: %s; resuming in %g s", self._expected.what, error, pause)
                await asyncio.sleep(pause)
        raise AssertionError("unreachable")

    async def _receive_answer(self) -> bool:
        """Whether the answer reached the end of the file; if not it was a part of the file."""
        have = self._download.buffer.end
        async with self._fetch(*self._resume.next_range(have)) as body:
            if have == 0 or self._resume.encoding:
                await self._begin(body)
            else:
                self._resume.accept(body, have, self._check.sha256)
            if self._download.buffer.small is not None and (body.total or IN_MEMORY) < IN_MEMORY:
                async for chunk in body.chunks:
                    await self._take(chunk)
            else:
                async with Chunking(body.chunks) as pieces:
                    async for piece in pieces:
                        await self._take(piece)
        return self._resume.is_whole(body, have, self._check.length)

    def _is_proven(self) -> bool:
        """Whether only the end of the answer was broken: the digest shows that all bytes came."""
        return self._resume.begun and not self._resume.encoding and self._check.proven

    async def _begin(self, body: Body) -> None:
        self._resume.begin(body)
        await self._file_made()
        self._check = (raw_check if body.encoding else DigestCheck)(self._expected)
        announced = None if body.encoding else body.total
        self._check.check_announced_length(announced)
        await self._download.begin(self._expected.size if announced is None else announced)

    async def _take(self, data: bytes) -> None:
        buffer = self._download.buffer
        if buffer.small is None and not buffer.end and len(data) > SMALL_WRITE:
            # Readers get this much before a thread has written the rest.
            await self._take(data[:SMALL_WRITE])
            await asyncio.sleep(0)
            data = data[SMALL_WRITE:]
        if self._resume.repeats:
            data = await in_thread(self._resume.skip_repeated, data)
        if data:
            encoded = self._resume.encoding is not None
            await self._download.append(data, self._check, encoded=encoded)

    async def _verify(self) -> str:
        spool = self._download.buffer.spool
        if self._resume.encoding is None:
            sha256 = self._check.finish()
        else:
            spool, sha256 = await in_thread(self._choose_bytes, self._resume.encoding)
        self._download.finish(spool)
        return sha256

    def _choose_bytes(self, encoding: str) -> tuple[Spool, str]:
        raw, decoded = self._download.buffer.spool, Spool(self._folder)
        chosen: Spool | None = None
        try:
            self._download.buffer.move_to_file()
            chosen, sha256 = choose_bytes(raw, self._check, self._expected, encoding, decoded)
            return chosen, sha256
        except OSError:
            raise self._resume.error("cannot be decoded without room on the disk") from None
        finally:
            for spool in {raw, decoded} - {chosen}:
                spool.close()


class ResumeState:
    """The properties that all answers for one download have to share.

    Its methods raise ``UpstreamError`` if an answer does not continue the download.
    """

    def __init__(self, expected: Expected) -> None:
        self._expected = expected
        self.begun = False
        """Upstream has answered."""
        self.encoding: str | None = None
        """Content coding of the answers. With one they cannot be resumed, only restarted."""
        self._total: int | None = None
        self._etag: str | None = None
        self._repeated: _RepeatedBytes | None = None

    def next_range(self, have: int) -> tuple[int, str | None]:
        """The arguments of ``Fetch`` after so many bytes."""
        return (have, self._etag) if have and self._etag else (0, None)

    def begin(self, body: Body) -> None:
        """An answer from which no reader has seen a byte yet."""
        if body.start:
            raise self.error("was answered with another part of the file")
        self.begun = True
        self.encoding, self._total = body.encoding, body.total
        self._etag = None if body.encoding else body.etag
        self._repeated = None

    def accept(self, body: Body, have: int, sha256: str) -> None:
        """An answer after ``have`` bytes with that sha256, which readers have seen."""
        requested, self._etag, self._repeated = self._etag, None, None
        if body.encoding or (None not in (self._total, body.total) and body.total != self._total):
            raise self.error("changed while it was downloaded")
        if body.start == 0:
            self._repeated = _RepeatedBytes(have, sha256, body.etag)
        elif self._total is None and body.total is None:
            raise self.error("was resumed without its length")
        elif body.start == have and body.etag in (requested, None):
            self._etag = requested
        else:
            raise self.error("was not resumed where it broke off")
        self._total = self._total if body.total is None else body.total

    @property
    def repeats(self) -> bool:
        """Whether the next bytes are some that have come before."""
        return self._repeated is not None and self._repeated.left > 0

    def skip_repeated(self, data: bytes) -> bytes:
        """The new bytes in ``data``. Raises ``DigestMismatch`` if the repeated ones differ."""
        repeated = self._repeated
        if repeated is None:
            return data
        data = repeated.skip(data)
        if not repeated.left:
            if not repeated.are_same:
                what = f"{self._expected.what} changed while it was downloaded"
                raise DigestMismatch(self._expected.index, what)
            self._etag = repeated.etag
        return data

    def is_whole(self, body: Body, have: int, length: int) -> bool:
        """Whether the file ends with this answer, which brought the bytes from ``have`` on.

        False: the answer was a part, and the next part can be requested.
        """
        total = self._total
        if total is None and not self.encoding:
            total = self._expected.size
        if not self.repeats and (total is None or length >= total):
            return True
        if body.stop != length:
            raise self.error("ended early")
        if length - have < MIN_PART:
            self._etag = None  # so the next request has no range
            raise self.error("came in very small parts")
        return False

    def error(self, problem: str) -> UpstreamError:
        return UpstreamError(self._expected.index, f"{self._expected.what} {problem}")


class _RepeatedBytes:
    """Bytes that came before a connection broke, and come again from the start of the file."""

    def __init__(self, length: int, sha256: str, etag: str | None) -> None:
        self.left = length
        self.etag = etag
        """Of the answer that repeats them; it can be used once they prove to be the same."""
        self._sha256 = sha256
        self._hash = hashlib.sha256()

    @property
    def are_same(self) -> bool:
        return self._hash.hexdigest() == self._sha256

    def skip(self, data: bytes) -> bytes:
        """Hash what is repeated, and return the rest."""
        repeated, new = data[: self.left], data[self.left :]
        self._hash.update(repeated)
        self.left -= len(repeated)
        return new
