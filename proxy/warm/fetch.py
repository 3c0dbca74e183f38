"""Fetches needed files into the cache, and checks that the cache has them with the right bytes.

Files are fetched by reading them from the index to their end: the index stores what it serves.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from proxy.composition import Proxy
from proxy.errors import NoSuchFile, ProxyError, StoreDamaged
from proxy.events import Event, FileAnswered, Outcome
from proxy.indexes import Index
from proxy.model import HASHES_BY_STRENGTH, METADATA, Artifact, Blob, ProjectName, new_hash
from proxy.requirements import Missing, NeededFile
from proxy.runtime import for_each
from proxy.storage import BlobStore, CachedFileRecord, CachedFiles, digests_of
from proxy.upstream import UpstreamOrigin
from proxy.warm.progress import Display

FILE_NOT_STORED = "the file was not stored: is the disk full or read-only, or max_size too small?"
PAGE_NOT_STORED = "its page was not stored: does honour_no_store forbid it, or is the disk full?"

MAX_VERIFICATIONS = 4
"""Files that are verified at the same time."""


@dataclass(slots=True)
class FetchedFiles:
    """An observer of events: the files that were fetched from an upstream or computed."""

    files: set[tuple[ProjectName, str]] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        if isinstance(event, FileAnswered) and event.outcome in (Outcome.MISS, Outcome.JOINED):
            self.files.add((event.project, event.filename))


class LockMismatch(ProxyError):
    """A file does not have a digest that the lock file names."""

    def __init__(self, filename: str, algorithm: str) -> None:
        super().__init__(filename, algorithm)
        self.filename = filename
        self.algorithm = algorithm

    def __str__(self) -> str:
        return f"{self.filename} does not have the {self.algorithm} that the lock file names"


async def fetch_files(
    index: Index,
    store: BlobStore,
    needs: tuple[NeededFile, ...],
    display: Display,
    jobs: int,
) -> list[Missing]:
    """Fetch the files that the cache does not have; the files that could not be fetched."""
    failed: list[Missing] = []
    if not needs:
        return failed

    async def fetch(need: NeededFile) -> None:
        try:
            await _fetch(index, store, need, display)
        except ProxyError as error:
            failed.append(Missing(need.line, str(error)))
        finally:
            display.end(need)

    with display.fetching(needs):
        await for_each(needs, fetch, jobs)
    return failed


async def _fetch(index: Index, store: BlobStore, need: NeededFile, display: Display) -> None:
    artifact = await index.file(need.project, need.filename, need.digest)
    if not artifact.blob.needs_download:
        with suppress(StoreDamaged):
            await _verify(need, artifact, store)
            return
        artifact = await index.file(need.project, need.filename, need.digest)
    display.begin(need)
    async for piece in _checked_against_lock(need, artifact.blob.chunks()):
        display.advance(need, len(piece))


async def _checked_against_lock(
    need: NeededFile, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The pieces; raises ``LockMismatch`` after the last one."""
    checks = {name: new_hash(name) for name in need.lock_hashes if name in HASHES_BY_STRENGTH}
    async for piece in pieces:
        for check in checks.values():
            check.update(piece)
        yield piece
    for name, check in checks.items():
        if check.hexdigest() != need.lock_hashes[name]:
            raise LockMismatch(need.filename, name)


async def find_missing(
    index: Index, store: BlobStore, needs: Iterable[NeededFile], *, verify: bool = False
) -> list[Missing]:
    """The files that are not in the cache or are damaged; ``verify``: every byte is hashed.

    Damaged files are deleted from the store, so that they can be fetched again.
    """
    found = []

    async def check(need: NeededFile) -> None:
        try:
            artifact = await index.file(need.project, need.filename, need.digest)
            if artifact.blob.needs_download:
                raise NoSuchFile(need.project, need.filename, "not in the cache")
            await _verify(need, artifact, store, every_byte=verify)
        except ProxyError as error:
            found.append(Missing(need.line, str(error)))

    await for_each(needs, check, MAX_VERIFICATIONS)
    return sorted(found)


async def _verify(
    need: NeededFile, artifact: Artifact, store: BlobStore, *, every_byte: bool = False
) -> None:
    """Raises ``StoreDamaged`` after deleting the damaged file, and ``LockMismatch``."""
    blob = artifact.blob
    if blob.needs_download:
        return
    size = artifact.file.size if need.size is None else need.size
    complete = size is None or blob.size == size
    expected = {"sha256": blob.key} if blob.key else artifact.file.hashes
    if not complete or await _mismatch(blob, expected if every_byte else {}):
        if blob.key:
            with suppress(OSError):  # the file is reported although it cannot be deleted
                await store.delete(blob.key)
        raise StoreDamaged(need.filename)
    if algorithm := await _mismatch(blob, need.lock_hashes):
        raise LockMismatch(need.filename, algorithm)


async def _mismatch(blob: Blob, hashes: Mapping[str, str]) -> str:
    """The strongest algorithm whose digest is not the one in ``hashes``; empty if all match."""
    names = [name for name in HASHES_BY_STRENGTH if name in hashes]
    found = await digests_of(blob, names)
    return next((name for name in names if found[name] != hashes[name]), "")


async def record_metadata(
    proxy: Proxy, origins: Mapping[str, UpstreamOrigin], needs: Iterable[NeededFile]
) -> None:
    """Record metadata that the cache has only under the name of another wheel.

    Identical metadata is stored once and found by its digest; bundles need a record for each
    wheel. ``origins`` are the mirrored indexes by name.
    """
    cached = {
        name: CachedFiles(proxy.cache.records, origin.namespace) for name, origin in origins.items()
    }
    for need in needs:
        if not need.filename.endswith(METADATA):
            continue
        files = await _record_of(cached, need)
        key = need.project, need.digest, need.filename
        if files and await files.get(*key) is None:
            with suppress(ProxyError):
                artifact = await proxy.index.file(need.project, need.filename, need.digest)
                blob = artifact.blob
                if blob.key and blob.size is not None:
                    record = CachedFileRecord(
                        blob.key, blob.size, time.time(), artifact.file.uploaded
                    )
                    await files.put(*key, record)


async def _record_of(cached: Mapping[str, CachedFiles], need: NeededFile) -> CachedFiles | None:
    """The records of the index that has the wheel; None for an index that is not mirrored."""
    found = [cached[name] for name in need.indexes if name in cached]
    wheel = need.project, need.digest, need.filename.removesuffix(METADATA)
    for files in found[:-1]:
        if await files.get(*wheel):
            return files
    return found[-1] if found else None
