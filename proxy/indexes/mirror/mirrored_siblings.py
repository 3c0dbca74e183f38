"""The siblings of a mirror's files: ``.metadata`` (PEP 658), ``.provenance`` (PEP 740), others."""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Awaitable, Callable

import msgspec

from proxy.distributions import UnusableArchive, read_wheel_metadata
from proxy.errors import NoSuchFile, NotFound, UpstreamError, reason
from proxy.events import Outcome
from proxy.indexes.mirror.mirror_options import MirrorStorage
from proxy.indexes.mirror.mirrored_files import MirrorFiles
from proxy.model import MAX_EXTRA_FILE, SIGNATURE, Artifact, File, ProjectName
from proxy.runtime import SingleFlight
from proxy.storage import BytesBlob, Key, RecordKind, as_local_file
from proxy.upstream import DigestCheck, Expected, RemoteIndex, require_permit

log = logging.getLogger(__name__)

MAX_METADATA = 8 * 2**20
"""Bytes of a sibling."""
PROVENANCE_TTL = 600.0
"""Seconds; attestations may be added to a file at any time."""

_ARMOUR = b"-----BEGIN PGP"
"""The header line of ASCII-armoured signatures (RFC 9580, section 6.2)."""

Document = tuple[bytes, Outcome]


class MirrorSiblings:
    """Serves every ``.metadata`` that a page lists: stored, fetched, or read from the wheel."""

    def __init__(
        self,
        name: str,
        remote: RemoteIndex | None,
        files: MirrorFiles,
        storage: MirrorStorage,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``remote`` is None offline."""
        self._name = name
        self._offline = remote is None
        self._files = files
        self._storage = storage
        self._clock = clock
        self._flights: SingleFlight[str, Document] = SingleFlight()
        self._writes: set[asyncio.Task[None]] = set()
        self._unwritten: dict[str, bytes] = {}

    async def metadata(
        self, project: ProjectName, wheel: File, sibling: File, digest: str, asked: float
    ) -> Artifact:
        """The ``.metadata`` of a wheel; ``digest`` is the wheel's, ``asked`` as in ``Link``.

        Raises as ``Index.file``.
        """

        async def read() -> bytes:
            return await self._metadata(project, wheel, sibling, digest, asked)

        return await self._answer(project, sibling, digest, read)

    async def extra_file(
        self, project: ProjectName, sibling: File, digest: str, asked: float
    ) -> Artifact:
        """A signature or another file beside a distribution, whose digest is given.

        Raises as ``Index.file``.
        """

        async def read() -> bytes:
            try:
                data = await self._files.link(project, sibling, digest, asked).read(MAX_EXTRA_FILE)
            except NoSuchFile:
                raise
            except NotFound as error:
                raise NoSuchFile(project, sibling.filename, str(error)) from error
            if sibling.filename.endswith(SIGNATURE) and _ARMOUR not in data:
                # perhaps a page of a captive portal
                raise UpstreamError(self._name, f"{sibling.filename} is not a signature")
            return data

        return await self._answer(project, sibling, digest, read)

    async def _answer(
        self, project: ProjectName, sibling: File, digest: str, read: Callable[[], Awaitable[bytes]]
    ) -> Artifact:
        """The stored sibling, or what ``read`` gives, which is stored."""
        if blob := await self._files.stored(project, sibling, digest):
            self._files.downloads.answered(project, sibling, Outcome.HIT)
            return Artifact(sibling, blob)
        key = f"{project}/{digest}/{sibling.filename}"
        if data := self._unwritten.get(key):
            self._files.downloads.answered(project, sibling, Outcome.HIT)
            return Artifact(sibling, _being_stored(data))
        joined = self._flights.is_running(key)
        if not joined:
            require_permit()
        data, outcome = await self._flights.do(
            key, lambda: self._obtain(key, project, sibling, digest, read)
        )
        self._files.downloads.answered(project, sibling, Outcome.JOINED if joined else outcome)
        return Artifact(sibling, _being_stored(data))

    async def provenance(
        self, project: ProjectName, sibling: File, digest: str, asked: float
    ) -> Artifact:
        """The provenance, at most ``PROVENANCE_TTL`` old; if upstream fails, the last known."""
        key = Key(RecordKind.PROVENANCE, self._storage.namespace, project, digest, sibling.filename)
        data, outcome = await self._flights.do(
            key, lambda: self._attested(project, sibling, digest, asked, key)
        )
        self._files.downloads.answered(project, sibling, outcome)
        return Artifact(sibling, BytesBlob(data))

    async def close(self) -> None:
        await self._flights.close()
        await self._all_written()

    async def _obtain(
        self,
        key: str,
        project: ProjectName,
        sibling: File,
        digest: str,
        read: Callable[[], Awaitable[bytes]],
    ) -> Document:
        sharing = self._files.downloads.sharing
        if not sharing.shared:
            return await self._read(key, project, sibling, digest, read)
        turn, stored = await sharing.take_turn(
            key, lambda: self._files.stored(project, sibling, digest)
        )
        if stored is not None:
            return b"".join([chunk async for chunk in stored.chunks()]), Outcome.HIT
        try:
            return await self._read(key, project, sibling, digest, read)
        finally:
            sharing.end_after(turn, self._all_written())

    async def _read(
        self,
        key: str,
        project: ProjectName,
        sibling: File,
        digest: str,
        read: Callable[[], Awaitable[bytes]],
    ) -> Document:
        data = await read()
        self._unwritten[key] = data
        task = asyncio.create_task(self._keep(project, sibling, digest, data))
        self._writes.add(task)  # in the background: the answer does not wait for the disk
        task.add_done_callback(lambda done: self._written(key, done))
        return data, Outcome.MISS

    async def _all_written(self) -> None:
        await asyncio.gather(*self._writes, return_exceptions=True)

    async def _metadata(
        self, project: ProjectName, wheel: File, sibling: File, digest: str, asked: float
    ) -> bytes:
        """From upstream, or from the wheel."""
        try:
            return await self._fetched(project, sibling, digest, asked)
        except (UpstreamError, NotFound) as error:
            log.info("%s: %s; reading it from the wheel", sibling.filename, error)
            data = await self._extracted(project, wheel, digest, asked)
            self._verify(sibling, data)
            return data

    async def _fetched(
        self, project: ProjectName, sibling: File, digest: str, asked: float
    ) -> bytes:
        data = await self._files.link(project, sibling, digest, asked).read(MAX_METADATA)
        self._verify(sibling, data)
        if (
            not sibling.hashes and b"Metadata-Version:" not in data
        ):  # perhaps a page of a captive portal
            raise UpstreamError(self._name, f"{sibling.filename} is not core metadata")
        return data

    async def _extracted(
        self, project: ProjectName, wheel: File, digest: str, asked: float
    ) -> bytes:
        """From the wheel, which is fetched if it is not stored."""
        blob = await self._files.fetched(project, wheel, digest, asked)
        if blob is None:
            raise UpstreamError(self._name, f"the metadata of {wheel.filename} is not available")
        try:
            async with as_local_file(blob, self._storage.spool) as path:
                return await asyncio.to_thread(read_wheel_metadata, path, wheel.filename)
        except UnusableArchive as error:
            raise UpstreamError(
                self._name, f"the metadata of {wheel.filename} cannot be read: {error}"
            ) from error

    def _verify(self, sibling: File, data: bytes) -> None:
        check = DigestCheck(
            Expected(self._name, sibling.filename, sibling.hashes, None, MAX_METADATA)
        )
        check.update(data)
        check.finish()

    def _written(self, key: str, task: asyncio.Task[None]) -> None:
        self._writes.discard(task)
        self._unwritten.pop(key, None)

    async def _keep(self, project: ProjectName, sibling: File, digest: str, data: bytes) -> None:
        if not self._files.downloads.keeps:
            return
        sha256 = hashlib.sha256(data).hexdigest()
        try:
            async with self._storage.room(len(data)):
                await self._storage.blobs.put(sha256, data)
        except OSError as error:
            log.warning("%s is not stored: %s", sibling.filename, reason(error))
        else:
            await self._files.downloads.record(project, sibling, digest, sha256, len(data))

    async def _attested(
        self, project: ProjectName, sibling: File, digest: str, asked: float, key: Key
    ) -> Document:
        stored, data = _aged(await self._storage.records.get(key))
        if data and (self._offline or 0 <= self._clock() - stored < PROVENANCE_TTL):
            return data, Outcome.HIT
        try:
            data = await self._proof(project, sibling, digest, asked)
        except NoSuchFile:
            raise
        except NotFound as error:
            raise NoSuchFile(project, sibling.filename, str(error)) from error
        except UpstreamError:
            if not data:
                raise
            return data, Outcome.STALE
        await self._storage.records.put(key, f"{self._clock()}\n".encode() + data)
        return data, Outcome.MISS

    async def _proof(self, project: ProjectName, sibling: File, digest: str, asked: float) -> bytes:
        data = await self._files.link(project, sibling, digest, asked).read(MAX_METADATA)
        try:
            msgspec.json.decode(data)
        except (msgspec.DecodeError, RecursionError) as error:
            raise UpstreamError(self._name, f"{sibling.filename} is not JSON") from error
        return data


def _being_stored(data: bytes) -> BytesBlob:
    return BytesBlob(data, hashlib.sha256(data).hexdigest())


def _aged(record: bytes | None) -> tuple[float, bytes]:
    """Unix time and content of a record; zero and empty without a record."""
    if not record:
        return 0.0, b""
    stored, _, data = record.partition(b"\n")
    return float(stored), data
