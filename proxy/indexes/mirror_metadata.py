"""The small documents beside a mirror's files: ``.metadata`` (PEP 658) and provenance (PEP 740)."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from proxy.distributions.archive import UnusableArchive, read_wheel_metadata
from proxy.errors import NoSuchFile, NotFound, UpstreamError
from proxy.events import Outcome
from proxy.indexes.mirror_files import MirrorFiles
from proxy.model import Artifact, File, ProjectName
from proxy.singleflight import SingleFlight
from proxy.storage.base import BlobStore, Records
from proxy.storage.disk import BytesBlob, DiskBlob
from proxy.storage.leftovers import open_spool
from proxy.upstream.remote import Remote
from proxy.upstream.verify import Check, Expected

log = logging.getLogger(__name__)

LIMIT = 8 * 2**20
"""Bytes of a document beside a file."""
PROVENANCE_TTL = 600.0
"""Seconds; attestations may be added to a file at any time."""


class MirrorMetadata:
    """Has every ``.metadata`` that a page lists: stored, fetched, or taken out of the wheel."""

    def __init__(
        self,
        name: str,
        remote: Remote | None,
        files: MirrorFiles,
        store: BlobStore,
        records: Records,
        namespace: str,
        spool: Path,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._remote = remote
        self._files = files
        self._store = store
        self._records = records
        self._namespace = namespace
        self._spool = spool
        self._clock = clock
        self._flights: SingleFlight[tuple[str, str, str], bytes] = SingleFlight()
        self._writes: set[asyncio.Task[None]] = set()

    async def metadata(
        self, project: ProjectName, wheel: File, sibling: File, digest: str
    ) -> Artifact:
        """The ``.metadata`` of a wheel; ``digest`` is the wheel's. Raises as ``Index.file``."""
        if await self._files.stored(project, sibling, digest):
            return await self._files.artifact(project, sibling, digest)
        key = (project, digest, sibling.filename)
        joined = self._flights.under_way(key)
        data = await self._flights.do(key, lambda: self._obtain(project, wheel, sibling, digest))
        self._files.answered(project, sibling, Outcome.JOINED if joined else Outcome.MISS)
        return Artifact(sibling, BytesBlob(data))

    async def provenance(self, project: ProjectName, sibling: File, digest: str) -> Artifact:
        """The provenance as upstream has it now, at most ten minutes old, or the last known."""
        key = f"provenance/{self._namespace}/{project}/{digest}/{sibling.filename}"
        record = await self._records.get(key)
        stored, data = _aged(record)
        if self._remote is None or self._clock() - stored < PROVENANCE_TTL:
            if not data:
                raise NoSuchFile(project, sibling.filename, "not in the offline cache")
            self._files.answered(project, sibling, Outcome.HIT)
            return Artifact(sibling, BytesBlob(data))
        try:
            data = await self._remote.read(sibling.url, LIMIT)
            msgspec.json.decode(data)
        except NotFound as error:
            raise NoSuchFile(project, sibling.filename, "upstream no longer has it") from error
        except msgspec.DecodeError as error:
            raise UpstreamError(self._name, f"{sibling.filename} is not JSON") from error
        except UpstreamError:
            if not data:
                raise
            self._files.answered(project, sibling, Outcome.STALE)
            return Artifact(sibling, BytesBlob(data))
        await self._records.put(key, f"{self._clock()}\n".encode() + data)
        self._files.answered(project, sibling, Outcome.MISS)
        return Artifact(sibling, BytesBlob(data))

    async def close(self) -> None:
        await self._flights.close()
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _obtain(self, project: ProjectName, wheel: File, sibling: File, digest: str) -> bytes:
        try:
            data = await self._fetched(sibling)
        except (UpstreamError, NotFound) as error:
            log.info("%s: %s; reading it from the wheel", sibling.filename, error)
            data = await self._extracted(project, wheel, digest)
            self._verify(sibling, data)
        task = asyncio.create_task(self._keep(project, sibling, digest, data))
        self._writes.add(task)  # behind the answer, which need not wait for the disk
        task.add_done_callback(self._writes.discard)
        return data

    async def _fetched(self, sibling: File) -> bytes:
        if self._remote is None:
            raise NotFound("offline")
        data = await self._remote.read(sibling.url, LIMIT)
        self._verify(sibling, data)
        return data

    async def _extracted(self, project: ProjectName, wheel: File, digest: str) -> bytes:
        """Out of the wheel, which is fetched for it if need be."""
        if not await self._files.stored(project, wheel, digest):
            artifact = await self._files.artifact(project, wheel, digest)
            async for _ in artifact.blob.chunks():
                pass  # the store has it when the last piece has come
        found = await self._files.stored(project, wheel, digest)
        if found is None or not isinstance(found[1], DiskBlob):
            raise UpstreamError(self._name, f"the metadata of {wheel.filename} cannot be had")
        try:
            return await asyncio.to_thread(read_wheel_metadata, found[1].path, wheel.filename)
        except UnusableArchive as error:
            raise UpstreamError(
                self._name, f"the metadata of {wheel.filename} cannot be read: {error}"
            ) from error

    def _verify(self, sibling: File, data: bytes) -> None:
        check = Check(Expected(self._name, sibling.filename, sibling.hashes, None, LIMIT))
        check.update(data)
        check.finish()

    async def _keep(self, project: ProjectName, sibling: File, digest: str, data: bytes) -> None:
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            spool = await asyncio.to_thread(self._write, data)
            await self._store.put(sha256, spool)
        except OSError as error:
            log.warning("%s is not stored: %s", sibling.filename, error)
            return
        await self._files.remember(project, sibling, digest, sha256, len(data))

    def _write(self, data: bytes) -> Path:
        fd, path = open_spool(self._spool)
        with open(fd, "wb") as file:
            file.write(data)
        return path


def _aged(record: bytes | None) -> tuple[float, bytes]:
    """When it was stored, and what: long ago and nothing where there is no record."""
    if not record:
        return 0.0, b""
    stored, _, data = record.partition(b"\n")
    return float(stored), data
