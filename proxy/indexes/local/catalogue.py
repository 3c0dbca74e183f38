"""What is known of the contents of local files, kept over restarts, so that each is read once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from datetime import UTC, datetime

import msgspec

from proxy.distributions.filename import DistributionName, parse_filename
from proxy.indexes.local.examine import Details, read_details
from proxy.indexes.local.scan import DirectoryEntry
from proxy.indexes.local.skipped import Place
from proxy.singleflight import SingleFlight
from proxy.storage.base import Records
from proxy.storage.disk import FileIdentity

_log = logging.getLogger(__name__)

_AT_ONCE = 4  # files read at the same time: enough for a disk, and threads are left for others


class Remembered(msgspec.Struct):
    """All of it, as one record."""

    files: dict[str, Details] = {}
    """By ``folder/filename``."""
    uploaded: dict[str, str] = {}
    """When the bytes of that sha256 were first seen, as ``File.uploaded``."""


class Catalogue:
    """Details of files by place, valid as long as the file's identity is the same."""

    def __init__(self, key: str, records: Records, clock: Callable[[], float]) -> None:
        """``key`` is where in the records it is kept; ``clock`` gives Unix time in seconds."""
        self._key = key
        self._records = records
        self._clock = clock
        self._known = Remembered()
        self._learnt = 0
        self._saved = 0
        self._flights: SingleFlight[tuple[Place, FileIdentity], Details] = SingleFlight()
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def load(self) -> None:
        data = await self._records.get(self._key)
        try:
            self._known = msgspec.msgpack.decode(data, type=Remembered) if data else Remembered()
        except msgspec.MsgspecError:
            _log.warning("what was remembered of local files cannot be read; they are read anew")

    async def save(self, entries: Iterable[DirectoryEntry]) -> None:
        """Remember what has become known, of these entries only."""
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

    def named(self, place: Place, identity: FileIdentity) -> DistributionName | None:
        """What a file's name says: as its content has confirmed it, else as it reads.

        For any thread. Of thousands of files, looking it up takes a tenth of reading the names.
        """
        found = self._known.files.get(_name(place))
        if found is not None and found.identity == identity and found.project:
            return DistributionName(found.project, found.version, certain=True)
        return parse_filename(place[1])

    async def details(self, entry: DirectoryEntry) -> Details:
        """Known, or read now, once for all who ask. Raises ``Unstable`` and ``OSError``."""
        if (found := self.known(entry)) is not None:
            return found
        return await self._flights.do((entry.place, entry.identity), lambda: self._read(entry))

    def uploaded(self, details: Details) -> str:
        """``upload-time`` (PEP 700): the file's time of modification when first seen.

        Touching a file, or restoring it from a backup, does not make it new.
        """
        known = self._known.uploaded.get(details.sha256)
        return known or self._moment(details.identity[1])

    async def _read(self, entry: DirectoryEntry) -> Details:
        async with self._turns:
            details = await asyncio.to_thread(read_details, entry)
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


def _name(place: Place) -> str:
    folder, filename = place
    return f"{folder}/{filename}" if folder else filename
