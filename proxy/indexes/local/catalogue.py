"""The catalogue of a local directory: digests and metadata of its files, kept over restarts.

Each file is read once, and again only when its size, times or inode have changed.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from io import BufferedReader
from typing import BinaryIO, cast

import msgspec

from proxy.distributions import (
    DistributionKind,
    DistributionName,
    UnusableArchive,
    check_whole,
    kind_of,
    parse_filename,
    parse_metadata,
    read_sdist_metadata,
    read_wheel_metadata,
    requires_python_of,
    same_version,
    version_for,
)
from proxy.indexes.local.scan import DirectoryEntry
from proxy.indexes.local.skip_log import EntryPath
from proxy.model import ProjectName
from proxy.runtime import SingleFlight
from proxy.storage import FileIdentity, Key, Records

_log = logging.getLogger(__name__)

_MAX_PARALLEL_READS = 4
"""Files that are read at the same time: enough for a disk, and leaves threads for other work."""


Opener = Callable[[DirectoryEntry], AbstractContextManager[BinaryIO]]
"""Opens a file for reading. Raises ``Unstable`` if it is not the one that was listed, also at the
end of the block, and ``UnusableArchive`` if it cannot be unpacked."""


class Remembered(msgspec.Struct):
    """The whole catalogue, as one record."""

    files: dict[str, Details] = {}
    """By ``folder/filename``."""
    uploaded: dict[str, str] = {}
    """When the bytes of that sha256 were first seen, as ``File.uploaded``."""


class Catalogue:
    """Details of files by place, valid as long as the file's identity is the same."""

    def __init__(self, key: Key, records: Records, clock: Callable[[], float]) -> None:
        """``key`` is where in the records it is kept; ``clock`` gives Unix time in seconds."""
        self._key = key
        self._records = records
        self._clock = clock
        self._known = Remembered()
        self._learnt = 0
        self._saved = 0
        self._flights: SingleFlight[tuple[EntryPath, FileIdentity], Details] = SingleFlight()
        self._turns = asyncio.Semaphore(_MAX_PARALLEL_READS)

    async def load(self) -> None:
        data = await self._records.get(self._key)
        try:
            self._known = msgspec.msgpack.decode(data, type=Remembered) if data else Remembered()
        except msgspec.MsgspecError:
            _log.warning("the record of local files cannot be read: all files are read again")

    async def save(self, entries: Iterable[DirectoryEntry]) -> None:
        """Store the details of these entries, if any are new."""
        learnt = self._learnt
        if learnt == self._saved:
            return
        places = (_name(entry.place) for entry in entries)
        self._known.files = {name: self._known.files[name] for name in places if self._has(name)}
        data = await asyncio.to_thread(msgspec.msgpack.encode, self._copy())
        await self._records.put(self._key, data)
        self._saved = learnt

    async def close(self) -> None:
        await self._flights.close()

    def known(self, entry: DirectoryEntry) -> Details | None:
        found = self._known.files.get(_name(entry.place))
        return found if found is not None and found.identity == entry.identity else None

    def named(self, place: EntryPath, identity: FileIdentity) -> DistributionName | None:
        """Project and version of a file: as its content has confirmed, else as its name reads.

        Thread-safe. A look-up takes a tenth of the time of parsing the name.
        """
        found = self._known.files.get(_name(place))
        if found is not None and found.identity == identity and found.project:
            return DistributionName(found.project, found.version, certain=True)
        return parse_filename(place[1])

    async def details(self, entry: DirectoryEntry, opened: Opener) -> Details:
        """The known details, or read now by one shared read. Raises ``Unstable``, ``OSError``."""
        if (found := self.known(entry)) is not None:
            return found
        return await self._flights.do(
            (entry.place, entry.identity), lambda: self._read(entry, opened)
        )

    def uploaded(self, details: Details) -> str:
        """``upload-time`` (PEP 700): the file's time of modification when first seen.

        So a file that is touched, or restored from a backup, keeps its time.
        """
        known = self._known.uploaded.get(details.sha256)
        return known or self._moment(details.identity[1])

    async def _read(self, entry: DirectoryEntry, opened: Opener) -> Details:
        async with self._turns:
            details = await asyncio.to_thread(read_details, entry, opened)
        self._known.files[_name(entry.place)] = details
        if details.sha256 and details.sha256 not in self._known.uploaded:
            self._known.uploaded[details.sha256] = self._moment(entry.identity[1])
        self._learnt += 1
        return details

    def _moment(self, nanoseconds: int) -> str:
        seconds = min(max(nanoseconds / 1e9, 0), self._clock())  # nothing is from the future
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _has(self, name: str) -> bool:
        return name in self._known.files

    def _copy(self) -> Remembered:
        return Remembered(dict(self._known.files), dict(self._known.uploaded))


def _name(place: EntryPath) -> str:
    folder, filename = place
    return f"{folder}/{filename}" if folder else filename


class Details(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The details of a file, valid while its identity is the same."""

    identity: FileIdentity
    project: ProjectName | None = None
    """None: unknown."""
    version: str = ""
    sha256: str = ""
    requires_python: str | None = None
    metadata: str | None = None
    """The sha256 of a wheel's METADATA, if that can be served."""
    problem: str = ""
    """Why the file is not listed; empty if it is."""


def read_details(entry: DirectoryEntry, opened: Opener) -> Details:
    """Read the whole file. Raises ``Unstable`` if it changes meanwhile, and ``OSError``."""
    try:
        with opened(entry) as file:
            return _details(file, entry)
    except UnusableArchive as error:
        return Details(entry.identity, problem=error.reason)


def _details(file: BinaryIO, entry: DirectoryEntry) -> Details:
    """The details of an archive, or what is wrong with it."""
    try:
        return _describe(file, entry)
    except UnusableArchive as error:
        return Details(entry.identity, problem=error.reason)


def read_metadata(entry: DirectoryEntry, opened: Opener) -> bytes:
    """METADATA of a wheel. Raises ``UnusableArchive``, ``Unstable`` and ``OSError``."""
    with opened(entry) as file:
        return read_wheel_metadata(file, entry.filename)


def _describe(file: BinaryIO, entry: DirectoryEntry) -> Details:
    check_whole(file, entry.filename)
    said = parse_filename(entry.filename)
    if said is None:
        raise UnusableArchive("its name does not have a project and a version")
    file.seek(0)
    details = Details(
        entry.identity,
        said.project,
        said.version,
        hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest(),
    )
    if not said.certain:
        return _confirmed(file, entry.filename, details)
    try:
        return _with_metadata(file, entry.filename, said, details)
    except UnusableArchive as error:
        _log.warning("%s is listed without metadata: %s", entry.filename, error.reason)
        return details


def _with_metadata(
    file: BinaryIO, filename: str, said: DistributionName, details: Details
) -> Details:
    kind = kind_of(filename)
    if kind is DistributionKind.WHEEL:
        metadata = read_wheel_metadata(file, filename)
        python = requires_python_of(metadata, said.project, said.version)
        digest = hashlib.sha256(metadata).hexdigest()
        return msgspec.structs.replace(details, requires_python=python, metadata=digest)
    metadata = read_sdist_metadata(file, filename)
    python = requires_python_of(metadata, said.project, said.version, sdist=True)
    return msgspec.structs.replace(details, requires_python=python)


def _confirmed(file: BinaryIO, filename: str, details: Details) -> Details:
    """The reading of the name that the archive's metadata confirm."""
    found = parse_metadata(read_sdist_metadata(file, filename), sdist=True)
    rest = version_for(filename, found.project)
    if rest is None or not same_version(rest, found.version):
        raise UnusableArchive(f"its name does not say {found.project} {found.version}, as it does")
    return msgspec.structs.replace(
        details,
        project=found.project,
        version=found.version,
        requires_python=found.requires_python,
    )


def _sha256(file: BinaryIO) -> str:
    return hashlib.file_digest(cast("BufferedReader", file), "sha256").hexdigest()
