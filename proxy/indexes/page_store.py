"""The pages that a mirror has stored; they are written behind the answers that wait for them."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any

from proxy.errors import reason
from proxy.model import ProjectName
from proxy.storage.pages import StoredPage, StoredPages, pack_page

log = logging.getLogger(__name__)
WRITE_DELAY = 0.1
"""Seconds until a page is stored: first the answer that waits for it is made."""


class PageStore:
    """The raw pages of one mirror. Of a project, one write comes after the other."""

    def __init__(self, namespace: str, pages: StoredPages) -> None:
        """``namespace`` keys what is stored: it changes with the upstream's configuration."""
        self._namespace = namespace
        self._pages = pages
        self._writes: dict[ProjectName, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()

    async def head(self, project: ProjectName) -> StoredPage | None:
        return await self._pages.head(self._key(project))

    async def document(self, project: ProjectName, digest: str) -> bytes | None:
        """As ``Pages.document``."""
        return await self._pages.document(self._key(project), digest)

    async def projects(self) -> set[ProjectName]:
        keys = await self._pages.keys(f"{self._namespace}/")
        return {ProjectName(key.rpartition("/")[2]) for key in keys}

    async def settled(self, project: ProjectName) -> None:
        """Until all that was to be written of it by now has been."""
        if writing := self._writes.get(project):
            await asyncio.wait({writing})

    def put(self, project: ProjectName, head: StoredPage, document: bytes) -> None:
        async def write() -> None:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._closing.wait(), WRITE_DELAY)
            # Not where answers are made: this has time, and needs no lock.
            packed = await asyncio.to_thread(pack_page, document)
            await self._pages.put(self._key(project), head, packed)

        self._write(project, write())

    def touch(self, project: ProjectName, head: StoredPage) -> None:
        """A new head for the document that is stored."""
        self._write(project, self._pages.touch(self._key(project), head))

    def forget(self, project: ProjectName) -> None:
        self._write(project, self._pages.forget(self._key(project)))

    async def close(self) -> None:
        """Write at once what waits to be written."""
        self._closing.set()
        await asyncio.gather(*self._writes.values(), return_exceptions=True)

    def _key(self, project: ProjectName) -> str:
        return f"{self._namespace}/{project}"

    def _write(self, project: ProjectName, work: Coroutine[Any, Any, None]) -> None:
        before = self._writes.get(project)

        async def in_turn() -> None:
            if before:
                await asyncio.wait({before})
            await work

        task = self._writes[project] = asyncio.create_task(in_turn())
        task.add_done_callback(lambda done: self._written(project, done))

    def _written(self, project: ProjectName, task: asyncio.Task[None]) -> None:
        if self._writes.get(project) is task:
            del self._writes[project]
        if not task.cancelled() and (error := task.exception()):
            log.error("page of %s was not stored: %s", project, reason(error))
