"""The page cache of a mirror: parsed pages in memory, the stored documents below, and the rules
for how long they may be used (RFC 9111, RFC 5861).
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import suppress
from enum import Enum
from typing import Any

import msgspec
from cachetools import LRUCache

from proxy.errors import UnreadablePage, reason
from proxy.events import Observer, PageChanged, PageRevalidated
from proxy.indexes.mirror.history import DigestHistory
from proxy.indexes.mirror.page_reading import PageReader
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import SingleFlight, run_in_worker
from proxy.storage import StoredPage, StoredPages, pack_page, unpack_page

log = logging.getLogger(__name__)
BYTES_PER_FILE = 600
"""Bytes of a document for each file, roughly."""
MEMORY_FACTOR = 5
"""How many times larger than compressed a page is, roughly."""


class Freshness(Enum):
    """The use of a stored page, by the names of RFC 5861."""

    FRESH = "answer it"
    STALE_WHILE_REVALIDATE = "answer it and revalidate it in the background"
    STALE_IF_ERROR = "revalidate it first; answer it if upstream is slow or fails"
    UNUSABLE = "answer only what upstream sends"


class Lifetimes(msgspec.Struct, frozen=True, kw_only=True):
    """How long pages may be used, in seconds."""

    maximum: float = 600.0
    """Upper bound of a page's freshness, and its freshness where upstream says nothing."""
    minimum: float = 0.0
    """Lower bound, even where upstream grants less."""
    while_revalidate: float = 0.0
    """Seconds after expiry in which the page is answered at once and revalidated in the
    background (stale-while-revalidate)."""
    if_error: float = 7 * 86400.0
    """Seconds after expiry in which the page is answered if upstream fails (stale-if-error)."""
    absence: float = 30.0
    """How long "no such project" is remembered."""

    def fresh_until(self, page: StoredPage) -> float:
        granted = self.maximum if page.lifetime is None else page.lifetime
        return page.checked + max(self.minimum, min(granted, self.maximum))

    def stale_until(self, page: StoredPage) -> float:
        """Unix time in seconds until which it may be answered and revalidated in the background."""
        return self.fresh_until(page) + (0.0 if page.must_revalidate else self.while_revalidate)


def freshness(page: StoredPage | None, now: float, lifetimes: Lifetimes) -> Freshness:
    """``now``: Unix time in seconds."""
    if page is None:
        return Freshness.UNUSABLE
    expired = now - lifetimes.fresh_until(page)
    if expired < 0 and page.checked <= now + lifetimes.maximum:  # else the clock was set back
        return Freshness.FRESH
    if page.must_revalidate:
        return Freshness.UNUSABLE
    if now < lifetimes.stale_until(page):
        return Freshness.STALE_WHILE_REVALIDATE
    return Freshness.STALE_IF_ERROR if expired < lifetimes.if_error else Freshness.UNUSABLE


class LoadedPage(msgspec.Struct, frozen=True):
    """A page in memory."""

    head: StoredPage
    page: ProjectPage


class PageCache:
    """The pages of one mirror. Announces changed and revalidated pages."""

    def __init__(
        self,
        name: str,
        namespace: str,
        stored: StoredPages,
        lifetimes: Lifetimes,
        events: Observer,
        *,
        allows: Callable[[str], bool] = lambda origin: True,
        history: DigestHistory | None = None,
        extra_files: bool = False,
        budget: int = 12_000,
    ) -> None:
        """``namespace`` as in ``MirrorStorage``, ``allows`` and ``extra_files`` as in
        ``PageReader``. ``history`` reviews each page that is read. ``budget`` bounds the parsed
        pages by the number of their files, about 1 kB each; a page counts as one more.
        """
        self._namespace = namespace
        self._stored = stored
        self._writer = PageWriter()
        self._lifetimes = lifetimes
        self._events = events
        self._reader = PageReader(name, allows, extra_files=extra_files)
        self._history = history
        self._known: LRUCache[ProjectName, LoadedPage] = LRUCache(
            budget, getsizeof=lambda known: min(1 + len(known.page.files), budget)
        )
        self._loads: SingleFlight[ProjectName, LoadedPage | None] = SingleFlight()
        self.get: Callable[[ProjectName], LoadedPage | None] = self._known.get
        """The page in memory."""

    async def load(self, project: ProjectName) -> LoadedPage | None:
        """The stored page if it is newer than that in memory, as another process may have stored
        one; else that in memory."""
        found = await self._loads.do(project, lambda: self._load(project))
        return self.get(project) or found  # it may have been refreshed since

    async def _load(self, project: ProjectName) -> LoadedPage | None:
        if self.get(project) is None:
            await self._writer.wait_written(project)
        return await self._load_newer(project)

    async def _load_newer(self, project: ProjectName) -> LoadedPage | None:
        known = self.get(project)
        head = await self._stored.head(self._namespace, project)
        if head is None or (known and not head.is_newer_than(known.head)):
            return self.get(project)
        same = known is not None and known.head.document == head.document
        page = known.page if known and same else await self._read_stored(project, head)
        newest = self.get(project)  # upstream may have been asked meanwhile
        if page is None or (newest and not head.is_newer_than(newest.head)):
            return newest
        return self.keep(project, head, page)

    async def _read_stored(self, project: ProjectName, head: StoredPage) -> ProjectPage | None:
        packed = await self._stored.document(self._namespace, project, head.digest)
        if packed is None:
            return None
        size = MEMORY_FACTOR * len(packed)
        await self.make_room(size)
        try:
            document = await run_in_worker(
                size, lambda: unpack_page(packed), result_stays_in_memory=True
            )
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
        """The page as it may be shown; if it differs from what was sent, with its own version."""
        shown = await self._history.review(page) if self._history else page
        if shown.files is page.files:
            return shown
        version = hashlib.sha256(msgspec.msgpack.encode(shown.files)).hexdigest()
        return msgspec.structs.replace(shown, version=f" as {version}")

    def keep(self, project: ProjectName, head: StoredPage, page: ProjectPage) -> LoadedPage:
        """Remember the page under this head, in memory."""
        former = self._known.get(project)
        known = self._known[project] = LoadedPage(head, self._timed(head, page))
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
        """Store the page in the background, unless a newer one is stored."""

        async def write() -> None:
            await self._writer.wait_delay()
            packed = await run_in_worker(len(document), lambda: pack_page(document))
            if not await self._stored.put(self._namespace, project, head, packed):
                await self._load_newer(project)  # another process has stored a newer one

        self._writer.write(project, write())

    def touch(self, project: ProjectName, head: StoredPage) -> None:
        """Store a new head of the stored document in the background."""
        self._writer.write(project, self._stored.touch(self._namespace, project, head))

    def unstore(self, project: ProjectName, checked: float) -> None:
        """Delete the stored page, checked at most then; the one in memory stays."""
        self._writer.write(project, self._stored.forget(self._namespace, project, checked))

    def forget(self, project: ProjectName, checked: float) -> None:
        """Delete the page from memory and, checked at most then, from the store."""
        self.drop(project)
        self.unstore(project, checked)
        self.announce_absence(project)

    def announce_absence(self, project: ProjectName) -> None:
        """Upstream has no such project: answers made from a page of it are outdated."""
        self._events(PageChanged(project))

    async def make_room(self, size: int) -> None:
        """For a document of so many bytes that is read next: two large pages are too many."""
        files = size // BYTES_PER_FILE
        if self._history:
            await self._history.make_room(files)
        while self._known and self._known.currsize + files > self._known.maxsize:
            self._known.popitem()

    async def wait_stored(self, project: ProjectName) -> None:
        """Wait until what is to be stored of the project so far is stored."""
        await self._writer.wait_written(project)
        if self._history:
            await self._history.wait_recorded(project)

    def drop(self, project: ProjectName) -> None:
        """Remove the page from memory only."""
        self._known.pop(project, None)

    def drop_all(self) -> None:
        self._known.clear()

    def age_all(self, now: float) -> None:
        """Let all pages in memory be stale from now on; they are answered if upstream fails."""
        for project, known in list(self._known.items()):
            if (rest := self._lifetimes.stale_until(known.head) - now) > 0:
                checked = known.head.checked - rest
                head = msgspec.structs.replace(known.head, checked=checked)
                self._known[project] = LoadedPage(head, self._timed(head, known.page))

    async def projects(self) -> set[ProjectName]:
        """Those with a stored page."""
        return {ProjectName(name) for name in await self._stored.projects(self._namespace)}

    async def close(self) -> None:
        """Store at once what waits to be stored."""
        await self._loads.close()
        await self._writer.close()


WRITE_DELAY = 0.1
"""Seconds until a page is stored, at most: the answer that waits for it is made first."""


class PageWriter:
    """Writes stored pages in the background; those of one project one after the other."""

    def __init__(self) -> None:
        self._writes: dict[ProjectName, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()
        self._delay: asyncio.Task[None] | None = None

    def write(self, project: ProjectName, work: Coroutine[Any, Any, object]) -> None:
        """Run the work after the earlier writes of the project."""
        before = self._writes.get(project)

        async def in_turn() -> None:
            if before:
                await asyncio.wait({before})
            await work

        task = self._writes[project] = asyncio.create_task(in_turn())
        task.add_done_callback(lambda done: self._written(project, done))

    async def wait_delay(self) -> None:
        """Writes that wait at the same time go on together, so that they are one transaction."""
        if self._delay is None or self._delay.done():
            self._delay = asyncio.create_task(self._wait())
        await asyncio.wait({self._delay})

    async def _wait(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(WRITE_DELAY):
                await self._closing.wait()

    async def wait_written(self, project: ProjectName) -> None:
        """Wait until all writes of the project so far have ended."""
        if writing := self._writes.get(project):
            await asyncio.wait({writing})

    async def close(self) -> None:
        """Write what waits without a further delay."""
        self._closing.set()
        await asyncio.gather(*self._writes.values(), return_exceptions=True)

    def _written(self, project: ProjectName, task: asyncio.Task[None]) -> None:
        if self._writes.get(project) is task:
            del self._writes[project]
        if not task.cancelled() and (error := task.exception()):
            log.error("page of %s was not stored: %s", project, reason(error))
