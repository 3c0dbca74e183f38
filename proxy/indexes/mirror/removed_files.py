"""Files that upstream no longer lists, and that are stored: pages go on listing them."""

from __future__ import annotations

from collections.abc import Container, Set

import msgspec

from proxy.distributions import version_of
from proxy.errors import StoreUnavailable
from proxy.model import File, ProjectPage
from proxy.storage import (
    NO_LONGER_LISTED,
    BlobStore,
    CachedFileRecord,
    CachedFiles,
    DigestHistoryRecord,
    FirstSeenFile,
)


class RemovedFiles:
    """Adds stored files to pages that no longer list them, as yanked (PEP 592): installers take
    such a file only if its exact version is asked for.
    """

    def __init__(self, cached: CachedFiles, store: BlobStore) -> None:
        self._cached = cached
        self._store = store

    async def add_to(self, page: ProjectPage, seen: DigestHistoryRecord) -> ProjectPage:
        """The page with the stored files that it listed earlier. ``seen``: its history."""
        listed = {file.filename for file in page.files}
        gone = [(name, file) for name, file in seen.items() if name not in listed]
        cached = [
            (name, file, found)
            for name, file in gone
            if (found := await self._cached.get(page.project, file.digest, name))
        ]
        keys = {found.sha256 for _, _, found in cached} | {
            _metadata_key(file) for _, file, _ in cached
        }
        stored = await self._stored(keys - {""}) if cached else frozenset()
        files = tuple(
            _removed_file(name, file, found, stored)
            for name, file, found in cached
            if found.sha256 in stored
        )
        return _with(page, files) if files else page

    async def _stored(self, keys: Set[str]) -> Set[str]:
        """Those that the store has; all that have a record while it does not answer."""
        try:
            return await self._store.present(keys)
        except StoreUnavailable:
            return keys


def _metadata_key(seen: FirstSeenFile) -> str:
    """The sha256 of the ``.metadata``, or nothing."""
    return "" if isinstance(seen.metadata, bool) else seen.metadata.get("sha256", "")


def _removed_file(
    name: str, seen: FirstSeenFile, cached: CachedFileRecord, stored: Container[str]
) -> File:
    """``stored``: the keys that the store has; ``.metadata`` is listed if it is among them."""
    algorithm, _, value = seen.digest.rpartition("-")
    return File(
        name,
        "",
        {algorithm or "sha256": value},
        cached.size,
        uploaded=seen.uploaded,
        yanked=NO_LONGER_LISTED,
        metadata=seen.metadata if _metadata_key(seen) in stored else False,
    )


def _with(page: ProjectPage, files: tuple[File, ...]) -> ProjectPage:
    versions = {version_of(file.filename, page.project) for file in files} - {None}
    more = sorted(str(each) for each in versions if each not in page.versions)
    return msgspec.structs.replace(
        page,
        files=page.files + files,
        versions=(*page.versions, *more) if page.versions else (),
    )
