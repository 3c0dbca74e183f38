"""Licences of files, read from their metadata once these are requested anyway."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from operator import itemgetter
from pathlib import Path

from proxy.distributions import (
    DistributionKind,
    UnusableArchive,
    kind_of,
    licence_of_metadata,
    read_sdist_metadata,
    read_wheel_metadata,
)
from proxy.errors import ProxyError
from proxy.facts.fact_store import StoredFacts
from proxy.model import METADATA, Artifact, File, ProjectName, ProjectPage
from proxy.policies import OpenFile, parse_names
from proxy.runtime import BoundedDict, SingleFlight
from proxy.storage import RecordKind, Records

log = logging.getLogger(__name__)

MAX_METADATA = 8 * 2**20
"""Bytes."""
MAX_TRIED = 10_000
"""Files whose metadata were prefetched, or could not be."""
READ_TIMEOUT = 20.0
"""Seconds until a request goes on without the licence."""

LicenceWatcher = Callable[[str], bool]
"""Whether a rule judges a file of that licence otherwise than one of unknown licence."""
Changed = Callable[[Sequence[ProjectName]], None]


class LicenceFacts:
    """The facts of rules about licences: by digest of the distribution."""

    def __init__(
        self, records: Records, changed: Changed, clock: Callable[[], float] = time.time
    ) -> None:
        """``changed`` gets projects of which pages have to be judged again."""
        self._stored: StoredFacts[str] = StoredFacts(records, RecordKind.LICENCES, str, clock)
        self._changed = changed
        self._watchers: list[LicenceWatcher] = []
        self._flights: SingleFlight[tuple[ProjectName, str], None] = SingleFlight()
        self._tried: BoundedDict[tuple[ProjectName, str], None] = BoundedDict(MAX_TRIED)
        self.prefetches = False
        """Whether the metadata of the newest release are read when a page is first judged."""

    def watch(self, watcher: LicenceWatcher) -> None:
        self._watchers.append(watcher)

    def licences_of(self, project: ProjectName) -> Callable[[str], str | None]:
        """As in ``LicencesOf``."""
        return self._stored.of(project)

    def read_again(self, project: ProjectName) -> None:
        """Another process has learnt a fact about the project."""
        self._stored.read_again(project)

    async def load(self, project: ProjectName) -> None:
        if await self._stored.load(project):
            self._changed([project])

    async def learn(self, page: ProjectPage, file: File, open_file: OpenFile) -> None:
        """Read the licence of a file, if it is not known and its metadata are available."""
        digest = file.address_digest
        if digest == "-" or self._stored.of(page.project)(digest) is not None:
            return
        key = (page.project, digest)
        try:
            async with asyncio.timeout(READ_TIMEOUT):
                await self._flights.do(key, lambda: self._learn(page.project, file, open_file))
        except (ProxyError, OSError, UnusableArchive) as error:
            log.info("the licence of %s is not known: %s", file.filename, error)

    async def prefetch(self, page: ProjectPage, open_file: OpenFile) -> None:
        """Read the newest release's licence in the background, where a rule asks for that."""
        if not self.prefetches or (file := newest_wheel(page)) is None:
            return
        key = (page.project, file.address_digest)
        if key not in self._tried and self._stored.of(page.project)(key[1]) is None:
            self._tried[key] = None
            self._flights.start(key, lambda: self._learn(page.project, file, open_file))

    async def close(self) -> None:
        await self._flights.close()

    async def _learn(self, project: ProjectName, file: File, open_file: OpenFile) -> None:
        if file.metadata:
            data = await _bytes_of(await open_file(file.filename + METADATA))
        else:
            artifact = await open_file(file.filename)
            async with artifact.blob.as_file() as path:
                if path is None:
                    return
                data = await asyncio.to_thread(_read_metadata, path, file.filename)
        licence = licence_of_metadata(data) or ""
        await self._stored.add(project, {file.address_digest: licence})
        if licence and any(watch(licence) for watch in self._watchers):
            self._changed([project])


def newest_wheel(page: ProjectPage) -> File | None:
    """A wheel with metadata of the newest final release that has one."""
    releases = [
        (not each.version.is_prerelease, each.version, each.positions)
        for each in parse_names(page).releases
        if each.version is not None
    ]
    for _, _, positions in sorted(releases, key=itemgetter(0, 1), reverse=True):
        for position in positions:
            if page.files[position].metadata and not page.files[position].yanked:
                return page.files[position]
    return None


async def _bytes_of(artifact: Artifact) -> bytes:
    data = b""
    async for chunk in artifact.blob.chunks():
        data += chunk
        if len(data) > MAX_METADATA:
            raise UnusableArchive("its metadata are too large")
    return data


def _read_metadata(path: Path, filename: str) -> bytes:
    if kind_of(filename) is DistributionKind.WHEEL:
        return read_wheel_metadata(path, filename)
    return read_sdist_metadata(path, filename)
