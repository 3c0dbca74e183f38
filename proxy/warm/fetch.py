"""Reads what is needed to its end, by which the index stores it; counts what upstream was asked.

Whether what is needed is held, whole, and what it should be.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field

from proxy.errors import NoSuchFile, ProxyError, StoreDamaged
from proxy.events import Event, FileAnswered, Outcome
from proxy.indexes import Index
from proxy.model import HASHES_BY_STRENGTH, Artifact, Blob, ProjectName, new_hash
from proxy.requirements import Missing, NeededFile
from proxy.runtime import for_each
from proxy.storage import BlobStore, digests_of
from proxy.warm.progress import Display


@dataclass(slots=True)
class FetchedFiles:
    """Notes what upstream was asked for."""

    fetched: set[tuple[ProjectName, str]] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        if isinstance(event, FileAnswered) and event.outcome in (Outcome.MISS, Outcome.JOINED):
            self.fetched.add((event.project, event.filename))


@dataclass(slots=True)
class NeededFetcher:
    index: Index
    store: BlobStore
    display: Display
    jobs: int
    failed: list[Missing] = field(default_factory=list)

    async def fetch_all(self, needs: tuple[NeededFile, ...]) -> None:
        """Every one that is not held, some at once."""
        with self.display.fetching(needs):
            await for_each(needs, self._one, self.jobs)

    async def _one(self, need: NeededFile) -> None:
        try:
            artifact = await self.index.file(need.project, need.filename, need.digest)
            if not artifact.blob.needs_download:
                with suppress(StoreDamaged):
                    return await verify_file(need, artifact, self.store)
                artifact = await self.index.file(need.project, need.filename, need.digest)
            self.display.begin(need)
            async for piece in checked_against_lock(need, artifact.blob.chunks()):
                self.display.advance(need, len(piece))
        except ProxyError as error:
            self.failed.append(Missing(need.line, str(error)))
        finally:
            self.display.end(need)


_AT_ONCE = 4


class LockMismatch(ProxyError):
    """Bytes that are not those a lock names."""

    def __init__(self, filename: str, algorithm: str) -> None:
        super().__init__(filename, algorithm)
        self.filename = filename
        self.algorithm = algorithm

    def __str__(self) -> str:
        return f"{self.filename} does not have the {self.algorithm} that the lock names"


async def checked_against_lock(
    need: NeededFile, pieces: AsyncIterator[bytes]
) -> AsyncIterator[bytes]:
    """The pieces, and an error at the end unless they are what the lock names."""
    checks = {name: new_hash(name) for name in need.lock_hashes if name in HASHES_BY_STRENGTH}
    async for piece in pieces:
        for running in checks.values():
            running.update(piece)
        yield piece
    for name, running in checks.items():
        if running.hexdigest() != need.lock_hashes[name]:
            raise LockMismatch(need.filename, name)


async def find_missing(
    index: Index, store: BlobStore, needs: Iterable[NeededFile], *, verify: bool = False
) -> list[Missing]:
    """Those that are not held or not whole; with ``verify`` every byte is hashed again.

    What is damaged is dropped from the store, so that it can be fetched anew.
    """
    found = []

    async def look(need: NeededFile) -> None:
        try:
            artifact = await index.file(need.project, need.filename, need.digest)
            if artifact.blob.needs_download:
                raise NoSuchFile(need.project, need.filename, "it is not held")
            await verify_file(need, artifact, store, verify=verify)
        except ProxyError as error:
            found.append(Missing(need.line, str(error)))

    await for_each(needs, look, _AT_ONCE)
    return sorted(found)


async def verify_file(
    need: NeededFile, artifact: Artifact, store: BlobStore, *, verify: bool = False
) -> None:
    """Raises ``StoreDamaged`` if it is not whole, and ``LockMismatch``; what is damaged is dropped.

    ``verify``: every byte is hashed again.
    """
    blob = artifact.blob
    if blob.needs_download:
        return
    size = artifact.file.size if need.size is None else need.size
    whole = size is None or blob.size == size
    promised = {"sha256": blob.key} if blob.key else artifact.file.hashes
    wrong = await _differing(blob, promised if verify else {})
    if wrong or not whole:
        if blob.key:
            with suppress(OSError):  # the file is reported although it cannot be deleted
                await store.delete(blob.key)
        raise StoreDamaged(need.filename)
    wrong = await _differing(blob, need.lock_hashes)
    if wrong:
        raise LockMismatch(need.filename, wrong)


async def _differing(blob: Blob, hashes: Mapping[str, str]) -> str:
    """The strongest algorithm whose digest is not the one in ``hashes``; empty if there is none."""
    names = [name for name in HASHES_BY_STRENGTH if name in hashes]
    found = await digests_of(blob, names)
    return next((name for name in names if found[name] != hashes[name]), "")
