"""The pages of a mirror that opens no connection: what is stored is the world."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import msgspec

from proxy.errors import NoSuchProject
from proxy.events import Outcome
from proxy.indexes.page_memory import PageCache
from proxy.model import File, ProjectName, ProjectPage
from proxy.storage.base import BlobStore
from proxy.storage.held import CachedFiles

RECOUNT_INTERVAL = 10.0
"""Seconds for which a list of held files may be repeated."""


class OfflinePages:
    """Stored pages, however old, with the files that can really be had."""

    final = True

    def __init__(
        self,
        memory: PageCache,
        store: BlobStore,
        held: CachedFiles,
        clock: Callable[[], float],
        *,
        list_all: bool = False,
    ) -> None:
        """``list_all``: list also files that are not held, as upstream once did."""
        self._memory = memory
        self._store = store
        self._held = held
        self._clock = clock
        self._list_all = list_all

    async def page(
        self, project: ProjectName, checked_after: float = 0.0
    ) -> tuple[ProjectPage, Outcome]:
        """Raises ``NoSuchProject`` for what is not stored."""
        known = await self._memory.load(project)
        if known is None:
            raise NoSuchProject(project, "offline, and the cache has no page of it")
        page = known.page if self._list_all else await self._only_held(known.page)
        now = self._clock()
        return msgspec.structs.replace(
            page, fresh_until=now + RECOUNT_INTERVAL, checked=now
        ), Outcome.HIT

    async def renewed(self, project: ProjectName, since: float) -> tuple[ProjectPage, Outcome]:
        """As ``page``: there can be no newer one."""
        return await self.page(project)

    def recheck(self, project: ProjectName) -> None:
        """Nobody can be asked."""

    def forget(self, project: ProjectName | None) -> None:
        """Nothing is kept here."""

    async def close(self) -> None:
        """Nothing runs."""

    async def _only_held(self, page: ProjectPage) -> ProjectPage:
        held = await self._held_without_sha256(page)
        has = self._store.has

        def is_held(file: File) -> bool:
            return has(file.sha256) if file.sha256 else file.filename in held

        return await asyncio.to_thread(page.keep, is_held)

    async def _held_without_sha256(self, page: ProjectPage) -> set[str]:
        """Those files of which upstream tells no sha256: what they once had is remembered."""
        files = [file for file in page.files if not file.sha256]
        names = await self._held.names(page.project) if files else set()
        return {
            file.filename
            for file in files
            if (file.address_digest, file.filename) in names
            and (held := await self._held.get(page.project, file.address_digest, file.filename))
            and self._store.has(held.sha256)
        }
