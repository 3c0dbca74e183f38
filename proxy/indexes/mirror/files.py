"""The files of a mirror: from the store if held, else fetched once for all who ask.

Whether a file may be had at all is decided by the page, in ``mirror``.

The bytes of a mirror's file that is not held: nothing is fetched before they are read.
"""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import NamedTuple, Protocol, TypeVar

from proxy.errors import DigestMismatch, NoSuchFile, NotFound, UpstreamError
from proxy.events import FileAnswered, Observer, Outcome
from proxy.indexes.mirror.links import Link, Renew
from proxy.model import Artifact, Blob, File, ProjectName, Span
from proxy.storage import NO_LONGER_LISTED, BlobStore, CachedFileRecord, CachedFiles
from proxy.upstream import Download, Downloads, Expected, Remote

log = logging.getLogger(__name__)

UNHASHED_LIFETIME = 3600.0
"""Seconds for which a stored file without any digest in its index is taken for the current one."""


class _FoundFile(NamedTuple):
    key: str
    blob: Blob
    outdated: bool
    """The file may have been replaced since."""


class MirrorFiles:
    """Finds bytes for what pages list. ``digest`` is always that of the address, as in ``File``."""

    def __init__(
        self,
        name: str,
        remote: Remote | None,
        store: BlobStore,
        held: CachedFiles,
        downloads: Downloads,
        events: Observer,
        *,
        used: Callable[[str], None],
        suspect: Callable[[ProjectName], None],
        renew: Renew,
        limit: int = 5 * 2**30,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``used`` is told the key of each stored file that is asked for, ``suspect`` the
        project whose page turns out to be wrong about a file; ``renew`` as in ``Link``.
        ``limit``: bytes of a file whose size its index does not tell.
        """
        self._name = name
        self._remote = remote
        self._store = store
        self._held = held
        self._downloads = downloads
        self._events = events
        self._used = used
        self.suspect = suspect
        self._renew = renew
        self._limit = limit
        self._clock = clock

    async def stored(self, project: ProjectName, file: File, digest: str) -> Blob | None:
        """What the store has under this address, and may be taken for the file."""
        found = await self._find(project, file, digest)
        if found is None or found.outdated:
            return None
        self._used(found.key)
        return found.blob

    async def once_listed(
        self, project: ProjectName, filename: str, digest: str
    ) -> Artifact | None:
        """A stored file that the page does not list, or not with this digest, any more.

        It counts as used only with ``use``.
        """
        held = await self._held.get(project, digest, filename)
        blob = await self._intact(held.sha256, held.size) if held else None
        if held is None or blob is None:
            return None
        file = File(filename, "", {"sha256": held.sha256}, held.size, uploaded=held.uploaded)
        return Artifact(file, blob)

    def use(self, project: ProjectName, stored: Artifact) -> None:
        """Note that a client gets this stored file."""
        self._used(stored.file.hashes["sha256"])
        self.answered(project, stored.file, Outcome.HIT)

    async def artifact(
        self, project: ProjectName, file: File, digest: str, asked: float
    ) -> Artifact:
        """The file with its bytes, which are fetched when they are first read.

        ``asked`` as in ``Link``.
        """
        found = await self._find(project, file, digest)
        if found and not found.outdated:
            self._used(found.key)
            self.answered(project, file, Outcome.HIT)
            return Artifact(file, found.blob)
        outdated = found.blob if found else None
        return Artifact(file, LazyDownload(self, self.link(project, file, digest, asked), outdated))

    async def fetched(
        self, project: ProjectName, file: File, digest: str, asked: float
    ) -> Blob | None:
        """The file out of the store, brought there first; None if that cannot keep it.

        Raises ``NoSuchFile`` and ``UpstreamError``.
        """
        if blob := await self.stored(project, file, digest):
            return blob
        async for _ in LazyDownload(self, self.link(project, file, digest, asked)).chunks():
            pass
        if download := self._downloads.join(self._key(project, file, digest)):
            await self._downloads.wait_stored(download)
        return await self.stored(project, file, digest)

    def link(self, project: ProjectName, file: File, digest: str, asked: float) -> Link:
        """Raises ``NoSuchFile`` where nobody can be asked for the file."""
        if self._remote is None:
            raise NoSuchFile(project, file.filename, "not in the offline cache")
        if not file.url:
            raise NoSuchFile(project, file.filename, NO_LONGER_LISTED)
        return Link(self._remote, self._renew, project, file, digest, asked, self._clock)

    def download(self, link: Link) -> tuple[Download, Outcome]:
        """The running download of the file, and what the answer is that reads it.

        One that has ended, and whose file is not in the store yet, is a hit.
        """
        project, file, digest = link.project, link.file, link.digest
        key = self._key(project, file, digest)
        if download := self._downloads.join(key):
            return download, Outcome.HIT if download.verified else Outcome.JOINED
        expected = Expected(
            self._name, f"{file.filename} of {project}", file.hashes, file.size, self._limit
        )

        async def keep(sha256: str, size: int) -> None:
            await self.remember(project, file, digest, sha256, size)

        return self._downloads.start(key, expected, link.open, keep), Outcome.MISS

    async def remember(
        self, project: ProjectName, file: File, digest: str, sha256: str, size: int
    ) -> None:
        """That the store has these bytes of the file now."""
        self._used(sha256)
        held = CachedFileRecord(sha256, size, self._clock(), file.uploaded)
        await self._held.put(project, digest, file.filename, held)

    def answered(self, project: ProjectName, file: File, outcome: Outcome) -> None:
        self._events(FileAnswered(project, file.filename, self._name, outcome))

    async def close(self, grace: float) -> None:
        """Running downloads get ``grace`` seconds to finish."""
        await self._downloads.close(grace)

    async def _find(self, project: ProjectName, file: File, digest: str) -> _FoundFile | None:
        """In the store. Of a file without a digest only time tells that it may be outdated."""
        key, size, outdated = file.sha256, file.size, False
        if key is None or size is None:
            held = await self._held.get(project, digest, file.filename)
            if size is None and held:
                size = held.size
            if key is None and held:
                key = held.sha256
                recent = 0 <= self._clock() - held.stored < UNHASHED_LIFETIME
                outdated = digest == "-" and self._remote is not None and not recent
        blob = await self._intact(key, size) if key else None
        return _FoundFile(key, blob, outdated) if key and blob else None

    async def _intact(self, key: str, size: int | None) -> Blob | None:
        """A stored file that can be read and has its size; any other counts as not held."""
        blob = await self._store.get(key)
        if blob is None or size in (None, blob.size):
            return blob
        log.warning("the stored copy of %s has %s bytes instead of %d", key, blob.size, size)
        return None

    def _key(self, project: ProjectName, file: File, digest: str) -> str:
        """Of the download: what has the same is the same file."""
        return file.sha256 or f"{project}/{digest}/{file.filename}"


T = TypeVar("T")


class DownloadSource(Protocol):
    """What is needed of ``MirrorFiles``."""

    def download(self, link: Link) -> tuple[Blob, Outcome]: ...

    def answered(self, project: ProjectName, file: File, outcome: Outcome) -> None: ...

    def suspect(self, project: ProjectName) -> None: ...


class LazyDownload(Blob):
    """A blob whose readers share one download; asking for its size alone starts none."""

    def __init__(self, files: DownloadSource, link: Link, outdated: Blob | None = None) -> None:
        """``outdated``: bytes that the file once had, for when upstream does not answer."""
        self._files = files
        self._link = link
        self._project = link.project
        self._file = link.file
        self._outdated = outdated
        self._instead: Blob | None = None
        self._download: Blob | None = None

    @property
    def size(self) -> int | None:
        return self._file.size

    @property
    def needs_download(self) -> bool:
        return True

    async def length(self) -> int | None:
        """As the answer says that the bytes come from: the download is begun for it."""
        if self._outdated is not None:
            await self._choose(self._outdated)
        elif self._file.size is not None:
            return self._file.size
        try:
            return await self._bytes().length()
        except (NotFound, DigestMismatch) as error:
            raise self._suspicious(error) from error

    async def _choose(self, outdated: Blob) -> None:
        """Whether upstream can be asked for news of a file that is here, if old."""
        try:
            await self._link.size()
        except NotFound as error:
            raise self._suspicious(error) from error
        except UpstreamError:
            self._instead = outdated

    async def size_without_download(self) -> int | None:
        """Bytes, without fetching them: upstream is asked where the index does not tell.

        None where upstream does not tell either. Raises as ``chunks`` does.
        """
        if self._file.size is not None:
            return self._file.size
        try:
            return await self._link.size()
        except NotFound as error:
            raise self._suspicious(error) from error

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[bytes, None]:
        return self._watched(lambda blob: blob.chunks(start, stop))

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncGenerator[Span | bytes, None]:
        return self._watched(lambda blob: blob.spans(start, stop) or blob.chunks(start, stop))

    async def _watched(
        self, read: Callable[[Blob], AsyncGenerator[T, None]]
    ) -> AsyncGenerator[T, None]:
        try:
            async with aclosing(read(self._bytes())) as pieces:
                async for piece in pieces:
                    yield piece
        except (NotFound, DigestMismatch) as error:
            raise self._suspicious(error) from error

    def _bytes(self) -> Blob:
        """The download, begun or joined now, unless upstream has just failed."""
        if self._instead is not None:
            self._files.answered(self._project, self._file, Outcome.STALE)
            return self._instead
        if self._download is None:
            self._download, outcome = self._files.download(self._link)
            self._files.answered(self._project, self._file, outcome)
        return self._download

    def _suspicious(self, error: NotFound | DigestMismatch) -> NotFound | DigestMismatch:
        """The page and the file disagree, so the page is likely out of date, unless it is new."""
        if not self._link.renewed:
            self._files.suspect(self._project)
        if isinstance(error, NotFound):
            return NoSuchFile(self._project, self._file.filename, "upstream no longer has it")
        return error
