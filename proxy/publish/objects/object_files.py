"""The files of packages in an object store: as pages list them, and their bytes."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable

from proxy.errors import IndexUnavailable, StoreDamaged
from proxy.model import EXTRA_SUFFIXES, METADATA, PROVENANCE, Blob, File
from proxy.publish.base import KeptPlace
from proxy.publish.objects.folded import PublishedFile
from proxy.publish.objects.object_log import ObjectLog
from proxy.storage import BytesBlob

OpenBlob = Callable[[str, str, int], Blob]
"""The object of that key, as a blob with that sha256 and size."""


class ObjectFiles:
    """Files that are listed; and as ``KeptPackages`` those that are not listed any more."""

    def __init__(
        self, name: str, url: str, log: ObjectLog, open_blob: OpenBlob, *, extra_files: bool
    ) -> None:
        """``name``: of the index. ``url``: of the store, below which the objects are.
        ``extra_files``: list signatures and other files beside distributions."""
        self._name = name
        self._url = url.rstrip("/")
        self._log = log
        self._open_blob = open_blob
        self._extra_files = extra_files

    def file_of(self, file: PublishedFile) -> File:
        """As a page lists it."""
        change, stored = file.change, file.stored
        url = f"{self._url}/{stored.key(change.filename)}"
        extra = tuple(each for each in EXTRA_SUFFIXES if each in stored.beside)
        return File(
            change.filename,
            url,
            {"sha256": change.sha256},
            size=change.size,
            requires_python=stored.requires_python,
            uploaded=stored.uploaded,
            yanked=file.yanked,
            metadata={"sha256": stored.metadata} if stored.metadata else False,
            beside=extra if self._extra_files else (),
            provenance=url + PROVENANCE if PROVENANCE in stored.beside else None,
        )

    async def blob_of(self, file: PublishedFile, suffix: str = "") -> Blob:
        """The bytes of a file, or of a file beside it. Raises as ``sibling``."""
        change = file.change
        if suffix:
            return BytesBlob(await self.sibling(file, suffix))
        return self._open_blob(file.stored.key(change.filename), change.sha256, change.size)

    async def sibling(self, file: PublishedFile, suffix: str) -> bytes:
        """A file beside a distribution. Raises ``StoreDamaged`` and ``StoreUnavailable``."""
        name = file.change.filename
        data = await self._log.calls.read(file.stored.key(name, suffix))
        wrong = suffix == METADATA and data and _sha256(data) != file.stored.metadata
        if data is None or wrong:
            raise StoreDamaged(name + suffix)
        return data

    async def find(self, places: Iterable[KeptPlace]) -> dict[KeptPlace, File]:
        found = {place: self._kept(place) for place in places}
        return {place: self.file_of(file) for place, file in found.items() if file}

    async def blob(self, place: KeptPlace, suffix: str = "") -> Blob:
        if file := self._kept(place):
            return await self.blob_of(file, suffix)
        raise IndexUnavailable(self._name, f"the deleted file {place[1]} is not kept any more")

    def _kept(self, place: KeptPlace) -> PublishedFile | None:
        state = self._log.state
        projects = state.projects_of(place[1])
        found = (state.find(project, place) for project in projects)
        return next(filter(None, found), None)


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()
