"""The files of a mirror: from the store, or fetched when they are read.

Which files there are is decided by the page, in ``mirror``.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Set
from contextlib import suppress
from typing import NamedTuple

import msgspec

from proxy.errors import NoSuchFile, StoreUnavailable
from proxy.events import Outcome
from proxy.indexes.mirror.lazy_download import FileDownloads, LazyDownload
from proxy.indexes.mirror.links import Link, Renew
from proxy.indexes.mirror.mirror_options import MirrorStorage
from proxy.indexes.mirror.other_addresses import OtherAddresses
from proxy.model import Artifact, Blob, File, ProjectName, ProjectPage
from proxy.storage import NO_LONGER_LISTED
from proxy.upstream import RemoteIndex

log = logging.getLogger(__name__)

UNHASHED_LIFETIME = 3600.0
"""Seconds for which a stored file without a digest in its index counts as current."""


class _FoundFile(NamedTuple):
    key: str
    blob: Blob
    outdated: bool
    """The file may have been replaced since."""


class MirrorFiles:
    """Finds the bytes of listed files. ``digest`` is always that in the file's address."""

    def __init__(
        self,
        remote: RemoteIndex | None,
        storage: MirrorStorage,
        downloads: FileDownloads,
        renew: Renew,
        clock: Callable[[], float] = time.time,
        others: OtherAddresses | None = None,
    ) -> None:
        """``remote`` is None offline. ``renew`` and ``others`` as in ``Link``."""
        self._remote = remote
        self._storage = storage
        self.downloads = downloads
        self._renew = renew
        self._clock = clock
        self._others = others

    async def stored(self, project: ProjectName, file: File, digest: str) -> Blob | None:
        """The stored file of this address, unless it may be outdated."""
        found = await self._look(project, file, digest)
        if found is None or found.outdated:
            return None
        self._storage.used(found.key)
        return found.blob

    async def stored_names(self, page: ProjectPage) -> Set[str]:
        """The names of the page's files that are stored, as far as the page has their sha256.

        None of them while the store does not answer.
        """
        names = {file.sha256: file.filename for file in page.files if file.sha256}
        with suppress(StoreUnavailable):
            return {names[key] for key in await self._storage.blobs.present(names.keys())}
        return frozenset()

    async def once_listed(
        self, project: ProjectName, filename: str, digest: str
    ) -> Artifact | None:
        """A stored file that the page does not list, or not with this digest, any more.

        It counts as used only with ``use``.
        """
        record = await self._storage.files.get(project, digest, filename)
        blob = await self._intact(record.sha256, record.size) if record else None
        if record is None or blob is None:
            return None
        file = File(filename, "", {"sha256": record.sha256}, record.size, uploaded=record.uploaded)
        return Artifact(file, blob)

    def use(self, project: ProjectName, stored: Artifact) -> None:
        """Note that a client gets this stored file."""
        self._storage.used(stored.file.hashes["sha256"])
        self.downloads.answered(project, stored.file, Outcome.HIT)

    async def artifact(
        self, project: ProjectName, file: File, digest: str, asked: float
    ) -> Artifact:
        """The file with its bytes, which are fetched when they are first read.

        ``asked`` as in ``Link``.
        """
        found = await self._look(project, file, digest)
        if found and not found.outdated:
            self._storage.used(found.key)
            self.downloads.answered(project, file, Outcome.HIT)
            return Artifact(file, found.blob, location=await found.blob.address())
        outdated = found.blob if found else None
        link = self.link(project, file, digest, asked)
        return Artifact(file, LazyDownload(self.downloads, link, outdated))

    async def redirected(
        self, project: ProjectName, file: File, digest: str, asked: float
    ) -> Artifact:
        """The file if it is stored; else the address at which clients fetch it themselves.

        It can still be read here.
        """
        artifact = await self.artifact(project, file, digest, asked)
        if not artifact.blob.needs_download:
            return artifact
        return msgspec.structs.replace(artifact, location=file.url)

    async def fetched(
        self, project: ProjectName, file: File, digest: str, asked: float
    ) -> Blob | None:
        """The file from the store, downloaded if it is not there; None if it cannot be stored.

        Raises ``NoSuchFile`` and ``UpstreamError``.
        """
        if blob := await self.stored(project, file, digest):
            return blob
        link = self.link(project, file, digest, asked)
        async for _ in LazyDownload(self.downloads, link).chunks():
            pass
        await self.downloads.wait_stored(link)
        return await self.stored(project, file, digest)

    def link(self, project: ProjectName, file: File, digest: str, asked: float) -> Link:
        """Raises ``NoSuchFile`` if there is no upstream, or it does not list the file."""
        if self._remote is None:
            raise NoSuchFile(project, file.filename, "not in the offline cache")
        if not file.url:
            raise NoSuchFile(project, file.filename, NO_LONGER_LISTED)
        return Link(
            self._remote, self._renew, project, file, digest, asked, self._clock, self._others
        )

    async def close(self, grace: float) -> None:
        """Running downloads get ``grace`` seconds to finish."""
        await self.downloads.close(grace)

    async def _look(self, project: ProjectName, file: File, digest: str) -> _FoundFile | None:
        """As ``_find``; a store on another machine may fail, also while a blob of it is read.

        Then upstream has the file too, or else ``StoreUnavailable`` is raised.
        """
        upstream_has_it = self._remote is not None and bool(file.url)
        try:
            found = await self._find(project, file, digest)
        except StoreUnavailable:
            if upstream_has_it:
                return None
            raise
        if found is None or not upstream_has_it:
            return found
        link = self.link(project, file, digest, self._clock())
        return found._replace(blob=found.blob.backed_by(LazyDownload(self.downloads, link)))

    async def _find(self, project: ProjectName, file: File, digest: str) -> _FoundFile | None:
        """The stored file; one without a digest may be outdated after ``UNHASHED_LIFETIME``."""
        key, size, outdated = file.sha256, file.size, False
        if key is not None and size is None and not await self._storage.blobs.has(key):
            return None  # its record need not be read
        if key is None or size is None:
            record = await self._storage.files.get(project, digest, file.filename)
            if size is None and record:
                size = record.size
            if key is None and record:
                key = record.sha256
                recent = 0 <= self._clock() - record.stored < UNHASHED_LIFETIME
                outdated = digest == "-" and self._remote is not None and not recent
        blob = await self._intact(key, size) if key else None
        return _FoundFile(key, blob, outdated) if key and blob else None

    async def _intact(self, key: str, size: int | None) -> Blob | None:
        """The stored file if it can be read and has its size; else None."""
        blob = await self._storage.blobs.get(key)
        if blob is None or size in (None, blob.size):
            return blob
        log.warning("the stored copy of %s has %s bytes instead of %d", key, blob.size, size)
        return None
