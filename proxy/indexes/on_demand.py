"""The bytes of a mirror's file that is not held: nothing is fetched before they are read."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Protocol, TypeVar

from proxy.errors import DigestMismatch, NoSuchFile, NotFound, UpstreamError
from proxy.events import Outcome
from proxy.indexes.links import Link
from proxy.model import File, ProjectName
from proxy.storage.base import FileBlob, Span

T = TypeVar("T")


class DownloadSource(Protocol):
    """What is needed of ``MirrorFiles``."""

    def download(self, link: Link) -> tuple[FileBlob, Outcome]: ...

    def answered(self, project: ProjectName, file: File, outcome: Outcome) -> None: ...

    def suspect(self, project: ProjectName) -> None: ...


class LazyDownload:
    """A blob whose readers share one download; asking for its size alone starts none."""

    def __init__(self, files: DownloadSource, link: Link, outdated: FileBlob | None = None) -> None:
        """``outdated``: bytes that the file once had, for when upstream does not answer."""
        self._files = files
        self._link = link
        self._project = link.project
        self._file = link.file
        self._outdated = outdated
        self._instead: FileBlob | None = None
        self._download: FileBlob | None = None

    @property
    def size(self) -> int | None:
        return self._file.size

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

    async def _choose(self, outdated: FileBlob) -> None:
        """Whether upstream can be asked for news of a file that is here, if old."""
        try:
            await self._link.size()
        except NotFound as error:
            raise self._suspicious(error) from error
        except UpstreamError:
            self._instead = outdated

    async def announced(self) -> int | None:
        """Bytes, without fetching them: upstream is asked where the index does not tell.

        None where upstream does not tell either. Raises as ``chunks`` does.
        """
        if self._file.size is not None:
            return self._file.size
        try:
            return await self._link.size()
        except NotFound as error:
            raise self._suspicious(error) from error

    def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        return self._watched(lambda blob: blob.chunks(start, stop))

    def spans(self, start: int = 0, stop: int | None = None) -> AsyncIterator[Span | bytes]:
        return self._watched(lambda blob: blob.spans(start, stop))

    async def _watched(self, read: Callable[[FileBlob], AsyncIterator[T]]) -> AsyncIterator[T]:
        try:
            pieces = read(self._bytes())
            async with aclosing(pieces):  # type: ignore[type-var]  # they are generators
                async for piece in pieces:
                    yield piece
        except (NotFound, DigestMismatch) as error:
            raise self._suspicious(error) from error

    def _bytes(self) -> FileBlob:
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
