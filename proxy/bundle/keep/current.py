"""An index as upstream vouches for it now, asked by few at once and behind those who wait."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Set
from contextlib import suppress

from proxy.bundle.held import is_local
from proxy.errors import NoSuchProject, ProxyError
from proxy.indexes.base import Index
from proxy.model import METADATA, PROVENANCE, Artifact, ProjectName, ProjectPage


async def at_once() -> None:
    """Nobody else is waiting."""


class RevalidatingIndex:
    """Pages are checked with upstream once in a run, however fresh they are."""

    def __init__(
        self,
        index: Index,
        since: float,
        *,
        limit: int,
        turn: Callable[[], Awaitable[None]] = at_once,
        aside: Index | None = None,
    ) -> None:
        """``since``: Unix time in seconds; ``limit``: questions at once; ``turn`` is awaited
        before each; ``aside`` reads what is not here, so that ``index`` does not keep it.
        """
        self._index = index
        self._aside = aside or index
        self._since = since
        self._turn = turn
        self._slots = asyncio.Semaphore(limit)
        self.pages: dict[ProjectName, ProjectPage | None] = {}
        """Those that upstream confirmed. None: there is no such project."""
        self.unconfirmed: set[ProjectName] = set()
        """Projects of which only an older page could be had."""
        self.new: set[tuple[ProjectName, str]] = set()
        """Distributions that were not here when they, or their metadata, were asked for."""

    @property
    def name(self) -> str:
        return self._index.name

    async def projects(self) -> Set[ProjectName]:
        return await self._index.projects()

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        async with self._slots:
            await self._turn()
            try:
                page = await self._index.page(project, max(checked_after, self._since))
            except NoSuchProject:
                self.pages[project] = None
                raise
        if page.checked is None or page.checked >= self._since:
            self.pages[project] = page
            self.unconfirmed.discard(project)
        else:
            self.unconfirmed.add(project)
        return page

    async def file(
        self, project: ProjectName, filename: str, digest: str | None = None
    ) -> Artifact:
        async with self._slots:
            await self._turn()
            asked = await self._reader(project, filename, digest)
            return await asked.file(project, filename, digest)

    async def _reader(self, project: ProjectName, filename: str, digest: str | None) -> Index:
        """Metadata goes with its wheel, which has to be fetched where upstream has none."""
        owner = filename.removesuffix(METADATA).removesuffix(PROVENANCE)
        with suppress(ProxyError):  # whoever is asked will tell
            if not is_local((await self._index.file(project, owner, digest)).blob):
                self.new.add((project, owner))
                return self._aside
        return self._index
