"""Files that a local directory does not list any more, kept beside it for a while.

Each is in a folder that is named for the SHA-256 of its bytes, with its signatures, provenance and
other files beside it. So files of one name and different bytes can be kept.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from pathlib import Path

from proxy.errors import IndexUnavailable
from proxy.indexes.local.catalogue import Catalogue, read_metadata
from proxy.indexes.local.folder_tree import DirectoryTree
from proxy.indexes.local.inotify import Marks
from proxy.indexes.local.private_page import Listed, file_of
from proxy.indexes.local.scan import DirectoryEntry, Unstable
from proxy.indexes.local.skip_log import EntryPath
from proxy.model import METADATA, Blob, File
from proxy.storage import BytesBlob, Key, RecordKind, Records


class KeptFiles:
    """Finds kept files by digest and name. A file is read once, to verify its digest."""

    _is_loaded = False

    def __init__(
        self,
        name: str,
        folder: Path,
        records: Records,
        clock: Callable[[], float],
        *,
        extra_files: bool,
    ) -> None:
        """``name``: that of the index. ``extra_files`` and ``clock`` as in ``LocalDirectory``."""
        self._name = name
        key = Key(RecordKind.LOCAL_FILES, str(folder))
        self._catalogue = Catalogue(key, records, clock)
        self._seen: dict[EntryPath, DirectoryEntry] = {}
        self._tree = DirectoryTree(
            folder,
            legacy=True,  # whether these are listed was decided before
            named=self._catalogue.named,
            clock=clock,
            extra_files=extra_files,
        )

    async def find(self, places: Iterable[EntryPath]) -> dict[EntryPath, File]:
        """The files, as pages list them, that are at these places: a digest, and a filename.

        Raises ``IndexUnavailable``.
        """
        entries, found = await self._entries(places), {}
        if entries and not self._is_loaded:
            self._is_loaded = True
            await self._catalogue.load()
        for place, entry in entries.items():
            try:
                details = await self._catalogue.details(entry, self._tree.opened)
            except Unstable:  # it has just been restored
                continue
            except OSError as error:
                raise self._unreadable(entry.filename) from error
            if details.sha256 == place[0]:
                uploaded = self._catalogue.uploaded(details)
                found[place] = file_of(Listed(entry, details, uploaded))
        self._seen |= entries
        await self._catalogue.save(self._seen.values())
        return found

    async def blob(self, place: EntryPath, suffix: str = "") -> Blob:
        """The bytes of a file that was found, or of a file beside it, such as ``.metadata``.

        Raises ``IndexUnavailable`` if it is not there any more.
        """
        entry = (await self._entries([place])).get(place)
        if entry is None:
            raise self._unreadable(place[1])
        if suffix == METADATA:
            try:
                return BytesBlob(await asyncio.to_thread(read_metadata, entry, self._tree.opened))
            except (OSError, Unstable) as error:
                raise self._unreadable(place[1]) from error
        if suffix:
            return self._tree.blob_beside(entry, suffix, self._unreadable)
        return self._tree.blob(entry, self._unreadable)

    async def close(self) -> None:
        await self._catalogue.close()

    async def _entries(self, places: Iterable[EntryPath]) -> dict[EntryPath, DirectoryEntry]:
        marks = Marks(files=set(places))
        try:
            seen = await asyncio.to_thread(self._tree.scan_marked, marks, (), None)
        except OSError as error:
            raise IndexUnavailable(self._name, "its deleted files cannot be read") from error
        return {at: each for at, each in seen.files.items() if isinstance(each, DirectoryEntry)}

    def _unreadable(self, filename: str) -> IndexUnavailable:
        return IndexUnavailable(self._name, f"the deleted file {filename} cannot be read")
