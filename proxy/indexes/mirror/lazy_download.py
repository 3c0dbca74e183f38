"""Files that are not stored yet: nothing is fetched before their bytes are read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from functools import partial
from typing import TypeVar

from proxy.errors import (
    DigestMismatch,
    NoSuchFile,
    NotFound,
    StoreUnavailable,
    UpstreamError,
)
from proxy.events import FileAnswered, Observer, Outcome
from proxy.indexes.mirror.links import Link
from proxy.indexes.mirror.mirror_options import MirrorOptions, MirrorStorage
from proxy.indexes.mirror.peers_first import PeersFirst
from proxy.indexes.mirror.shared_downloads import SharedDownloads
from proxy.model import Blob, File, ProjectName, Span
from proxy.runtime import SingleFlight
from proxy.storage import CachedFileRecord
from proxy.upstream import (
    Download,
    Downloads,
    Expected,
    Peers,
    RunningDownload,
    require_permit,
)

T = TypeVar("T")

RECENT = 10.0
"""Seconds since a file without a digest in its index was stored, by another replica perhaps, in
which it is not fetched again."""


class FileDownloads:
    """The downloads of one mirror: each file is fetched once for all who read it, and recorded."""

    def __init__(
        self,
        name: str,
        storage: MirrorStorage,
        options: MirrorOptions,
        events: Observer,
        recheck_page: Callable[[ProjectName], None],
        clock: Callable[[], float],
        peers: Peers | None = None,
    ) -> None:
        """``recheck_page`` is called with the project whose page is wrong about a file.
        ``peers`` are asked before upstream."""
        self._name = name
        self._downloads = Downloads(
            storage.blobs, storage.spool, room=storage.room, keeps=options.stores_files
        )
        self.keeps = options.stores_files
        """Whether files are stored."""
        self._storage = storage
        self.sharing = SharedDownloads(storage.file_leases)
        self._turns: SingleFlight[str, tuple[Blob, bool]] = SingleFlight()
        self._limit = options.max_file_size
        self._events = events
        self.recheck_page = recheck_page
        self._clock = clock
        self._peers = peers

    async def open(self, link: Link, *, shared: bool = True) -> tuple[Blob, Outcome]:
        """As ``start``; where replicas share the store, one of them fetches the file."""
        key = _download_key(link)
        if not (shared and self.sharing.shared) or self._downloads.join(key):
            return self.start(link)
        joined = self._turns.is_running(key)
        blob, stored = await self._turns.do(key, lambda: self._take_turn(key, link))
        if stored:
            return blob, Outcome.HIT
        return blob, Outcome.JOINED if joined else Outcome.MISS

    async def _take_turn(self, key: str, link: Link) -> tuple[Blob, bool]:
        """The download, or the file that another replica has stored, and which of them it is."""
        turn, found = await self.sharing.take_turn(key, lambda: self._find(link))
        if found is not None:
            return found, True
        try:
            download, _ = self.start(link)
        except BaseException:
            await self._storage.file_leases.end(turn)
            raise
        self.sharing.end_after(turn, self._downloads.wait_stored(download))
        return download, False

    async def _find(self, link: Link) -> Blob | None:
        """The stored file, which another replica may have fetched; None if the store fails."""
        sha256 = link.file.sha256
        if sha256 is None:
            record = await self._storage.files.get(link.project, link.digest, link.file.filename)
            if record is None or self._clock() - record.stored > RECENT:
                return None
            sha256 = record.sha256
        try:
            found = await self._storage.blobs.get(sha256)
        except StoreUnavailable:
            return None
        if found is None or link.file.size not in (None, found.size):
            return None
        self._storage.used(sha256)
        return found.backed_by(LazyDownload(self, link, shared=False))

    def start(self, link: Link) -> tuple[Download, Outcome]:
        """The running download of the file, or a new one, and the outcome of a read of it.

        Reading a finished download whose file is not stored yet is a hit.
        """
        file, key = link.file, _download_key(link)
        if download := self._downloads.join(key):
            return download, Outcome.HIT if download.verified else Outcome.JOINED
        require_permit()
        what = f"{file.filename} of {link.project}"
        expected = Expected(self._name, what, file.hashes, file.size, self._limit)

        async def record(sha256: str, size: int) -> None:
            await self.record(link.project, file, link.digest, sha256, size)

        source: Link | PeersFirst = link
        if self._peers:
            sent_by_peer = partial(self.answered, link.project, file, Outcome.PEER)
            source = PeersFirst(self._peers, link, sent_by_peer)
        started = self._downloads.start(key, expected, source.open, record, source.distrust)
        return started, Outcome.MISS

    async def wait_stored(self, link: Link) -> None:
        """Wait until a running download of the file is stored, or cannot be."""
        if download := self._downloads.join(_download_key(link)):
            await self._downloads.wait_stored(download)

    async def record(
        self, project: ProjectName, file: File, digest: str, sha256: str, size: int
    ) -> None:
        """Remember that the store has these bytes of the file. ``digest`` is in its address."""
        self._storage.used(sha256)
        record = CachedFileRecord(sha256, size, self._clock(), file.uploaded)
        await self._storage.files.put(project, digest, file.filename, record)

    def running(self) -> Sequence[RunningDownload]:
        """The downloads that are running now."""
        return self._downloads.running()

    def answered(self, project: ProjectName, file: File, outcome: Outcome) -> None:
        self._events(FileAnswered(project, file.filename, self._name, outcome))

    async def close(self, grace: float) -> None:
        """Running downloads get ``grace`` seconds to finish."""
        await self._turns.close()
        await self._downloads.close(grace)
        await self.sharing.close()


def _download_key(link: Link) -> str:
    """Links with the same key lead to the same bytes."""
    return link.file.sha256 or f"{link.project}/{link.digest}/{link.file.filename}"


class LazyDownload(Blob):
    """A blob whose readers share one download; asking for its size alone starts none."""

    def __init__(
        self,
        downloads: FileDownloads,
        link: Link,
        outdated: Blob | None = None,
        *,
        shared: bool = True,
    ) -> None:
        """``outdated``: bytes that the file once had, used if upstream does not answer. Unless
        ``shared``, no other replica is waited for, and the store is not read."""
        self._downloads = downloads
        self._link = link
        self._file = link.file
        self._outdated = outdated
        self._shared = shared
        self._use_outdated = False
        self._download: Blob | None = None

    @property
    def size(self) -> int | None:
        return self._file.size

    @property
    def needs_download(self) -> bool:
        return True

    async def length(self) -> int | None:
        """As the sender of the bytes says, unless the page says it: starts the download."""
        if self._outdated is not None:
            self._use_outdated = not await self._is_upstream_available()
        elif self._file.size is not None:
            return self._file.size
        try:
            return await (await self._bytes()).length()
        except (NotFound, DigestMismatch) as error:
            raise self._suspicious(error) from error

    async def _is_upstream_available(self) -> bool:
        """Whether upstream answers for the file; raises as ``chunks`` where it is gone."""
        try:
            await self._link.size()
        except NotFound as error:
            raise self._suspicious(error) from error
        except UpstreamError:
            return False
        return True

    async def size_without_download(self) -> int | None:
        """Bytes, as the page or else upstream says; None where neither does.

        Raises as ``chunks`` does.
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
            async with aclosing(read(await self._bytes())) as pieces:
                async for piece in pieces:
                    yield piece
        except (NotFound, DigestMismatch) as error:
            raise self._suspicious(error) from error

    async def _bytes(self) -> Blob:
        """The download, started or joined now, unless upstream has just failed."""
        project = self._link.project
        if self._outdated is not None and self._use_outdated:
            self._downloads.answered(project, self._file, Outcome.STALE)
            return self._outdated
        if self._download is None:
            started = await self._downloads.open(self._link, shared=self._shared)
            self._download, outcome = started
            self._downloads.answered(project, self._file, outcome)
        return self._download

    def _suspicious(self, error: NotFound | DigestMismatch) -> NotFound | DigestMismatch:
        """Has the page revalidated unless it is new: it and upstream disagree about the file."""
        project = self._link.project
        if not self._link.renewed:
            self._downloads.recheck_page(project)
        if isinstance(error, NotFound):
            return NoSuchFile(project, self._file.filename, "upstream no longer has it")
        return error
