"""Another index as a source: the files that its pages list of named projects and versions."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from proxy.errors import ProxyError
from proxy.indexes import Index
from proxy.migration.offers import LeftOut, Offer, StatusOffer
from proxy.model import PROVENANCE, SIGNATURE, Blob, File, ProjectName
from proxy.publish import Selection


class IndexSource:
    """Offers files of an index, which checks their digests while they arrive."""

    def __init__(self, index: Index, wanted: Sequence[Selection], checked_after: float) -> None:
        """``checked_after``: Unix time in seconds; pages are newer than that. The name of the index
        is its address, for people."""
        self.label = index.name
        self._index = index
        self._wanted = wanted
        self._checked_after = checked_after

    async def found(self) -> AsyncIterator[Offer | StatusOffer | LeftOut]:
        for selection in self._wanted:
            try:
                page = await self._index.page(selection.project, self._checked_after)
            except ProxyError as error:
                yield LeftOut(str(selection), str(error))
                continue
            if page.status and page.status.status == "quarantined":
                yield LeftOut(str(selection), "the project is quarantined there")
                continue
            files = [file for file in page.files if selection.has(file.filename)]
            if not files:
                yield LeftOut(str(selection), "the index lists no such file")
            for file in files:
                yield self._offer(selection.project, file)
            if page.status and not (selection.version or selection.filename):
                yield StatusOffer(selection.project, page.status)

    def _offer(self, project: ProjectName, file: File) -> Offer:
        async def opened(suffix: str) -> Blob:
            digest = file.address_digest
            return (await self._index.file(project, file.filename + suffix, digest)).blob

        beside = [SIGNATURE] if SIGNATURE in file.beside else []
        if file.provenance:
            beside.append(PROVENANCE)
        return Offer(
            file.filename,
            file.filename,
            opened,
            project,
            file.hashes,
            file.size,
            datetime.fromisoformat(file.uploaded).timestamp() if file.uploaded else None,
            file.yanked,
            tuple(beside),
        )
