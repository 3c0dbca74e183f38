"""The files of a mirror: from the store if held, else fetched once for all who ask.

Whether a file may be had at all is decided by the page, in ``mirror``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing
from typing import TypeVar

from proxy.errors import DigestMismatch, NoSuchFile, NotFound
from proxy.events import FileAnswered, Observer, Outcome
from proxy.model import Artifact, File, ProjectName
from proxy.storage.base import Blob, BlobStore, Span
from proxy.storage.held import Held, HeldFile
from proxy.upstream.body import Body
from proxy.upstream.downloads import Download, Downloads, Expected
from proxy.upstream.remote import Remote

log = logging.getLogger(__name__)
T = TypeVar("T")

UNHASHED = 3600.0
"""Seconds for which a stored file without any digest in its index is taken for the current one."""


class MirrorFiles:
    """Finds bytes for what pages list."""

    def __init__(
        self,
        name: str,
        remote: Remote | None,
        store: BlobStore,
        held: Held,
        downloads: Downloads,
        events: Observer,
        *,
        used: Callable[[str], None],
        suspect: Callable[[ProjectName], None],
        limit: int = 5 * 2**30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``used`` is told the key of each stored file that is asked for, ``suspect`` the
        project whose page turns out to be wrong about a file. ``limit``: bytes of a file whose
        size its index does not tell.
        """
        self._name = name
        self._remote = remote
        self._store = store
        self._held = held
        self._downloads = downloads
        self._events = events
        self._used = used
        self._suspect = suspect
        self._limit = limit
        self._clock = clock

    async def stored(
        self, project: ProjectName, file: File, digest: str
    ) -> tuple[str, Blob] | None:
        """Key and bytes of what the store has under this address (``digest`` as in ``File``)."""
        key = file.sha256
        if key is None:
            held = await self._held.get(project, digest, file.filename)
            if held is None or self._outdated(held, file):
                return None
            key = held.sha256
        blob = await self._store.get(key)
        return (key, blob) if blob else None

    async def once_listed(
        self, project: ProjectName, filename: str, digest: str
    ) -> Artifact | None:
        """A held file that the page does not list, or not with this digest, any more."""
        held = await self._held.get(project, digest, filename)
        blob = await self._store.get(held.sha256) if held else None
        if held is None or blob is None:
            return None
        file = File(filename, "", {"sha256": held.sha256}, held.size, uploaded=held.uploaded)
        return self._hit(project, held.sha256, Artifact(file, blob))

    async def artifact(self, project: ProjectName, file: File, digest: str) -> Artifact:
        """The file with its bytes, which are fetched when they are first read."""
        if found := await self.stored(project, file, digest):
            key, blob = found
            return self._hit(project, key, Artifact(file, blob))
        if self._remote is None:
            raise NoSuchFile(project, file.filename, "not in the offline cache")
        return Artifact(file, OnDemand(self, project, file, digest))

    def download(self, project: ProjectName, file: File, digest: str) -> tuple[Download, bool]:
        """The running download of the file, and whether it had been under way already."""
        key = file.sha256 or f"{self._name}/{project}/{digest}/{file.filename}"
        if download := self._downloads.join(key):
            return download, True
        expected = Expected(
            self._name, f"{file.filename} of {project}", file.hashes, file.size, self._limit
        )

        async def keep(sha256: str, size: int) -> None:
            await self.remember(project, file, digest, sha256, size)

        return self._downloads.start(key, expected, self._fetch(file), keep), False

    async def remember(
        self, project: ProjectName, file: File, digest: str, sha256: str, size: int
    ) -> None:
        self._used(sha256)
        held = HeldFile(sha256, size, self._clock(), file.uploaded)
        await self._held.put(project, digest, file.filename, held)

    async def ask_size(self, file: File) -> int | None:
        assert self._remote is not None
        return await self._remote.size(file.url)

    def suspect(self, project: ProjectName) -> None:
        self._suspect(project)

    def answered(self, project: ProjectName, file: File, outcome: Outcome) -> None:
        self._events(FileAnswered(project, file.filename, self._name, outcome))

    def _fetch(self, file: File) -> Callable[[int, str | None], AbstractAsyncContextManager[Body]]:
        remote = self._remote
        assert remote is not None
        return lambda start, etag: remote.open(file.url, start=start, etag=etag)

    def _outdated(self, held: HeldFile, file: File) -> bool:
        """A file without a digest may have been replaced upstream; nothing tells but time."""
        if file.hashes or self._remote is None:
            return False
        return self._clock() - held.stored > UNHASHED

    def _hit(self, project: ProjectName, key: str, artifact: Artifact) -> Artifact:
        self._used(key)
        self.answered(project, artifact.file, Outcome.HIT)
        return artifact


class OnDemand:
    """The bytes of a file that is not held: asking for its size alone fetches nothing."""

    def __init__(self, files: MirrorFiles, project: ProjectName, file: File, digest: str) -> None:
        self._files = files
        self._project = project
        self._file = file
        self._digest = digest

    @property
    def size(self) -> int | None:
        return self._file.size

    async def length(self) -> int | None:
        if self._file.size is not None:
            return self._file.size
        return await self._or_suspect(self._files.ask_size(self._file))

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        return self._watched(lambda download: download.chunks(start, stop))

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncIterator[Span]:
        return self._watched(lambda download: download.spans(start, stop))

    async def _watched(self, read: Callable[[Download], AsyncIterator[T]]) -> AsyncIterator[T]:
        """Reads the download, which is begun now, if nobody has."""
        download, joined = self._files.download(self._project, self._file, self._digest)
        outcome = Outcome.JOINED if joined else Outcome.MISS
        self._files.answered(self._project, self._file, outcome)
        try:
            async with aclosing(read(download)) as pieces:  # type: ignore[type-var]
                async for piece in pieces:
                    yield piece
        except (NotFound, DigestMismatch) as error:
            raise self._suspicious(error) from error

    async def _or_suspect(self, answer: Awaitable[int | None]) -> int | None:
        try:
            return await answer
        except NotFound as error:
            raise self._suspicious(error) from error

    def _suspicious(self, error: NotFound | DigestMismatch) -> NotFound | DigestMismatch:
        """The page and the file disagree, so the page is likely out of date."""
        self._files.suspect(self._project)
        if isinstance(error, NotFound):
            return NoSuchFile(self._project, self._file.filename, "upstream no longer has it")
        return error
