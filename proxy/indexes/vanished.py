"""Files that upstream's page no longer lists and that are held: listed all the same, as yanked."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from proxy.heavy import run_in_worker
from proxy.model import File, ProjectPage
from proxy.simple.names import version_of
from proxy.storage.base import BlobStore, Records
from proxy.storage.held import CachedFiles
from proxy.storage.seen import (
    NO_LONGER_LISTED,
    FirstSeenFile,
    decode_digest_history,
    digest_history_key,
)


class RemovedFiles:
    """Knows them by what the ``Ledger`` has seen. For pages that people choose to see so:
    installers take a yanked file only where it is asked for by its very version (PEP 592).
    """

    def __init__(
        self, namespace: str, records: Records, held: CachedFiles, store: BlobStore
    ) -> None:
        self._namespace = namespace
        self._records = records
        self._held = held
        self._store = store

    async def shown(self, page: ProjectPage) -> ProjectPage:
        """The page with what it does not list any more."""
        record = await self._records.get(digest_history_key(self._namespace, page.project))
        seen = (
            await run_in_worker(5 * len(record), lambda: decode_digest_history(record))
            if record
            else {}
        )
        listed = {file.filename for file in page.files}
        gone = [(name, file) for name, file in seen.items() if name not in listed]
        found = [await self._file(page, name, file) for name, file in gone]
        files = tuple(file for file in found if file)
        return _with(page, files) if files else page

    async def _file(self, page: ProjectPage, name: str, seen: FirstSeenFile) -> File | None:
        held = await self._held.get(page.project, seen.digest, name)
        if held is None or not self._store.has(held.sha256):
            return None
        algorithm, _, value = seen.digest.rpartition("-")
        return File(
            name,
            "",
            {algorithm or "sha256": value},
            held.size,
            uploaded=seen.uploaded,
            yanked=NO_LONGER_LISTED,
            metadata=self._metadata(seen),
        )

    def _metadata(self, seen: FirstSeenFile) -> bool | Mapping[str, str]:
        """Only what can be had."""
        if isinstance(seen.metadata, bool):
            return False
        return seen.metadata if self._store.has(seen.metadata.get("sha256", "-")) else False


def _with(page: ProjectPage, files: tuple[File, ...]) -> ProjectPage:
    versions = {version_of(file.filename, page.project) for file in files} - {None}
    more = sorted(str(each) for each in versions if each not in page.versions)
    return msgspec.structs.replace(
        page,
        files=page.files + files,
        versions=(*page.versions, *more) if page.versions else (),
    )
