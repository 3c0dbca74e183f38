"""The folder that ``devpi-export`` writes: files, and ``dataindex.json``, which describes them.

devpi documents no format; this is what devpi-server 6 writes (``dumpversion`` 2).
"""

from __future__ import annotations

from calendar import timegm
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any

import msgspec

from proxy.errors import ConfigurationError, UploadRefused
from proxy.migration.folder_files import FolderFiles
from proxy.migration.offers import LeftOut, Offer
from proxy.model import ProjectName, normalize
from proxy.runtime import count_text
from proxy.simple import clean_hashes

DATA_INDEX = "dataindex.json"
ALL_INDEXES = "all"
"""Chooses every index of an export."""
_MAX_DATA_INDEX = 2**30
"""Bytes."""
_RELEASE = "releasefile"


class _Mapping(msgspec.Struct):
    hashes: dict[str, str] = {}
    hash_spec: str = ""
    """Such as ``sha256=…``."""
    last_modified: str | None = None


class _LogEntry(msgspec.Struct):
    what: str = ""
    when: list[int] = []
    """Year to second, in UTC."""


class _FileEntry(msgspec.Struct):
    type: str
    relpath: str
    projectname: str = ""
    entrymapping: _Mapping = msgspec.field(default_factory=_Mapping)
    log: list[_LogEntry] = []


class DevpiExport:
    """Offers the files of some indexes of an export."""

    def __init__(self, root: Path, indexes: Sequence[str] = ()) -> None:
        """``indexes``: their names, such as ``ana/dev``; none: the only one that has files."""
        self._files = FolderFiles(root)
        self.label = self._files.label("devpi export")
        self._chosen = indexes

    async def found(self) -> AsyncIterator[Offer | LeftOut]:
        for index, entries in self._indexes().items():
            for entry in entries:
                yield self._one(index, entry)

    def _indexes(self) -> Mapping[str, Sequence[Any]]:
        """The entries of the files of each chosen index."""
        there = {name: entries for name, entries in self._read() if entries}
        if not self._chosen and len(there) > 1:
            counts = (f"{name} ({count_text(len(there[name]), 'file')})" for name in sorted(there))
            problem = f"the export has several indexes: {', '.join(counts)}"
            raise ConfigurationError("--devpi-index", problem, f"name one, or {ALL_INDEXES}")
        if not self._chosen or ALL_INDEXES in self._chosen:
            return there
        for name in self._chosen:
            if name not in there:
                problem = f"the export has no index {name!r} with files"
                known = ", ".join(sorted(there)) or "no index"
                raise ConfigurationError("--devpi-index", problem, f"it has {known}")
        return {name: there[name] for name in self._chosen}

    def _read(self) -> Iterator[tuple[str, Sequence[Any]]]:
        """Each index with the entries of its files. Raises ``ConfigurationError``."""
        try:
            document: Any = msgspec.json.decode(self._files.read(DATA_INDEX, _MAX_DATA_INDEX))
            indexes = document["indexes"]
            for name, index in indexes.items():
                entries = index.get("files") or []
                if not isinstance(entries, list):
                    raise TypeError
                yield name, entries
        except UploadRefused as error:
            raise ConfigurationError("SOURCE", f"{DATA_INDEX}: {error}") from None
        except (msgspec.DecodeError, RecursionError, LookupError, TypeError, AttributeError):
            problem = f"{DATA_INDEX} is not what devpi-export writes"
            raise ConfigurationError("SOURCE", problem, "name another --kind") from None

    def _one(self, index: str, given: Any) -> Offer | LeftOut:
        place = str(given.get("relpath", "")) if isinstance(given, dict) else ""
        try:
            entry = msgspec.convert(given, _FileEntry)
        except msgspec.ValidationError:
            return LeftOut(place or index, f"its entry in {DATA_INDEX} cannot be read")
        if entry.type != _RELEASE:
            return LeftOut(place, f"it is a {entry.type or 'file'}, and no package", True)
        try:
            project = normalize(entry.projectname) if entry.projectname else None
        except ValueError:
            return LeftOut(place, f"{entry.projectname!r} is no project name")
        return self._offer(entry, project)

    def _offer(self, entry: _FileEntry, project: ProjectName | None) -> Offer | LeftOut:
        mapping = entry.entrymapping
        algorithm, _, digest = mapping.hash_spec.partition("=")
        hashes = clean_hashes({**mapping.hashes, algorithm: digest})
        if not hashes and (mapping.hashes or mapping.hash_spec):
            return LeftOut(entry.relpath, f"{DATA_INDEX} has no digest of it that can be checked")
        return self._files.offer(
            entry.relpath, project=project, hashes=hashes, uploaded=_uploaded(entry)
        )


def _uploaded(entry: _FileEntry) -> float | None:
    """When the file was uploaded first, in Unix time."""
    for each in entry.log:
        if each.what == "upload" and len(each.when) == 6:
            return float(timegm((*each.when, 0, 0, 0)))
    try:
        return parsedate_to_datetime(entry.entrymapping.last_modified or "").timestamp()
    except (ValueError, OverflowError):
        return None
