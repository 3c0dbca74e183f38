"""The pages a mirror remembers: parsed in memory while there is room, raw in the store behind.

The pages that a mirror has stored; they are written behind the answers that wait for them.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from typing import Any

import msgspec

from proxy.errors import UnreadablePage, reason
from proxy.events import Observer, PageChanged, PageRevalidated
from proxy.indexes.mirror.freshness import Lifetimes
from proxy.indexes.mirror.page_reading import PageReader
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import SingleFlight, run_in_worker
from proxy.storage import StoredPage, StoredPages, pack_page, unpack_page

log = logging.getLogger(__name__)
BYTES_PER_FILE = 600
"""Bytes of a document for each file, roughly."""
MEMORY_FACTOR = 5
"""How many times larger than compressed a page is, roughly."""


class LoadedPage(msgspec.Struct, frozen=True):
    head: StoredPage
    page: ProjectPage


class PageCache:
    """Finds and keeps the pages of one mirror; announces each page that is another one now."""

    def __init__(
        self,
        name: str,
        store: PageStore,
        lifetimes: Lifetimes,
        events: Observer,
        *,
        allows: Callable[[str], bool] = lambda origin: True,
        review: Callable[[ProjectPage], Awaitable[ProjectPage]] | None = None,
        also_make_room: Callable[[int], Awaitable[None]] | None = None,
        budget: int = 12_000,
    ) -> None:
        """``allows`` as in ``PageReader``. ``review`` has the last word on a page that was read:
        see ``Ledger``; ``also_make_room`` lets go of pages that are held elsewhere, before one of
        so many files is read. ``budget`` bounds the parsed pages by the number of their files, at
        about 1 kB each; a page counts as one more.
        """
        self._store = store
        self._lifetimes = lifetimes
        self._events = events
        self._reader = PageReader(name, allows)
        self._review = review
        self._also_make_room = also_make_room
        self._budget = budget
        self._size = 0
        self._known: OrderedDict[ProjectName, LoadedPage] = OrderedDict()
        self._loads: SingleFlight[ProjectName, LoadedPage | None] = SingleFlight()

    def get(self, project: ProjectName) -> LoadedPage | None:
        if known := self._known.get(project):
            self._known.move_to_end(project)
        return known

    async def load(self, project: ProjectName) -> LoadedPage | None:
        """What the store has, if another process stored news; else what memory has."""
        found = await self._loads.do(project, lambda: self._load(project))
        return self.get(project) or found  # it may have been refreshed since

    async def _load(self, project: ProjectName) -> LoadedPage | None:
        known = self.get(project)
        if known is None:
            await self._store.settled(project)
        head = await self._store.head(project)
        if head is None or (known and head.checked <= known.head.checked):
            return self.get(project)
        same = known is not None and known.head.document == head.document
        page = known.page if known and same else await self._stored(project, head)
        newest = self.get(project)  # upstream may have been asked meanwhile
        if page is None or (newest and newest.head.checked >= head.checked):
            return newest
        return self.keep(project, head, page)

    async def _stored(self, project: ProjectName, head: StoredPage) -> ProjectPage | None:
        packed = await self._store.document(project, head.digest)
        if packed is None:
            return None
        size = MEMORY_FACTOR * len(packed)
        await self.make_room(size)
        try:
            document = await run_in_worker(size, lambda: unpack_page(packed), begins=True)
            page = await self.read(project, head.url, head.content_type, document)
        except UnreadablePage as error:  # another version of the proxy could read it
            log.info("the stored page of %s is of no use: %s", project, error)
            return None
        return await self.reviewed(page)

    async def read(
        self, project: ProjectName, url: str, content_type: str, document: bytes
    ) -> ProjectPage:
        """The page that a document means. Raises ``UnreadablePage``."""
        return await self._reader.read(project, url, content_type, document)

    async def reviewed(self, page: ProjectPage) -> ProjectPage:
        """The page as it may be shown; of another version than what was sent, if it differs."""
        shown = await self._review(page) if self._review else page
        if shown.files is page.files:
            return shown
        version = hashlib.sha256(msgspec.msgpack.encode(shown.files)).hexdigest()
        return msgspec.structs.replace(shown, version=f" as {version}")

    def keep(self, project: ProjectName, head: StoredPage, page: ProjectPage) -> LoadedPage:
        """Remember the page under this head, in memory."""
        former = self._known.get(project)
        self.drop(project)
        known = self._known[project] = LoadedPage(head, self._timed(head, page))
        self._size += _weight(known)
        while self._size > self._budget and len(self._known) > 1:
            self.drop(next(iter(self._known)))
        same = (
            former is not None
            and former.head.document == head.document
            and former.page.files is page.files
        )
        self._events(PageRevalidated.of(known.page) if same else PageChanged(project))
        return known

    def _timed(self, head: StoredPage, page: ProjectPage) -> ProjectPage:
        own = page.version.startswith(head.digest)  # it was timed before
        return msgspec.structs.replace(
            page,
            fresh_until=0.0 if head.doubtful else self._lifetimes.fresh_until(head),
            stale_until=0.0 if head.doubtful else self._lifetimes.stale_until(head),
            checked=head.checked,
            version=page.version if own else head.digest + page.version,
        )

    def store(self, project: ProjectName, head: StoredPage, document: bytes) -> None:
        self._store.put(project, head, document)

    def touch(self, project: ProjectName, head: StoredPage) -> None:
        self._store.touch(project, head)

    def unstore(self, project: ProjectName, checked: float) -> None:
        """Remove the page from the store, unless it was checked later; memory keeps the page."""
        self._store.forget(project, checked)

    def forget(self, project: ProjectName, checked: float) -> None:
        """Remove the page, from the store unless it was checked later."""
        self.drop(project)
        self._store.forget(project, checked)
        self._events(PageChanged(project))

    def is_absent(self, project: ProjectName) -> None:
        """Nothing is known of it any more that would have to be forgotten."""
        self._events(PageChanged(project))

    async def make_room(self, size: int) -> None:
        """For a document of so many bytes, before it is read: two large pages are too many."""
        files = size // BYTES_PER_FILE
        if self._also_make_room:
            await self._also_make_room(files)
        while self._known and self._size + files > self._budget:
            self.drop(next(iter(self._known)))

    def drop(self, project: ProjectName) -> None:
        """Out of memory; the store keeps it."""
        if known := self._known.pop(project, None):
            self._size -= _weight(known)

    def drop_all(self) -> None:
        self._known.clear()
        self._size = 0

    async def projects(self) -> set[ProjectName]:
        return await self._store.projects()

    async def close(self) -> None:
        await self._loads.close()
        await self._store.close()


def _weight(known: LoadedPage) -> int:
    return 1 + len(known.page.files)


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
        return await self._pages.head(self._namespace, project)

    async def document(self, project: ProjectName, digest: str) -> bytes | None:
        """As ``Pages.document``."""
        return await self._pages.document(self._namespace, project, digest)

    async def projects(self) -> set[ProjectName]:
        return {ProjectName(name) for name in await self._pages.projects(self._namespace)}

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
            await self._pages.put(self._namespace, project, head, packed)

        self._write(project, write())

    def touch(self, project: ProjectName, head: StoredPage) -> None:
        """A new head for the document that is stored."""
        self._write(project, self._pages.touch(self._namespace, project, head))

    def forget(self, project: ProjectName, checked: float) -> None:
        self._write(project, self._pages.forget(self._namespace, project, checked))

    async def close(self) -> None:
        """Write at once what waits to be written."""
        self._closing.set()
        await asyncio.gather(*self._writes.values(), return_exceptions=True)

    def _write(self, project: ProjectName, work: Coroutine[Any, Any, object]) -> None:
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
