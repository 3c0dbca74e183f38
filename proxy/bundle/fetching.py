"""Reads what is needed to its end, by which the index stores it; counts what upstream was asked."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field

from proxy.bundle.held import checked_against_lock, is_local, verify_needed
from proxy.bundle.needs import Missing, NeededFile
from proxy.bundle.parallel import for_each
from proxy.bundle.progress import Display
from proxy.errors import ProxyError, StoreDamaged
from proxy.events import Event, FileAnswered, Outcome
from proxy.indexes.base import Index
from proxy.model import ProjectName
from proxy.storage.base import BlobStore


@dataclass(slots=True)
class Counting:
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

    async def all(self, needs: tuple[NeededFile, ...]) -> None:
        """Every one that is not held, some at once."""
        with self.display.fetching(needs):
            await for_each(needs, self._one, self.jobs)

    async def _one(self, need: NeededFile) -> None:
        try:
            artifact = await self.index.file(need.project, need.filename, need.digest)
            if is_local(artifact.blob):
                with suppress(StoreDamaged):
                    return await verify_needed(need, artifact, self.store)
                artifact = await self.index.file(need.project, need.filename, need.digest)
            self.display.begin(need)
            async for piece in checked_against_lock(need, artifact.blob.chunks()):
                self.display.advance(need, len(piece))
        except ProxyError as error:
            self.failed.append(Missing(need.line, str(error)))
        finally:
            self.display.end(need)
