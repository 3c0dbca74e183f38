"""When a mirror asks upstream for a page, and what it makes of the answer."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable

import msgspec

from proxy.bounded import BoundedDict
from proxy.errors import NoSuchProject, UnreadablePage, UpstreamError
from proxy.events import Observer, Outcome, PageChanged, UpstreamFailed
from proxy.indexes.freshness import Freshness, Lifetimes, freshness
from proxy.indexes.page_memory import Known, PageMemory, off_loop
from proxy.model import ProjectName, ProjectPage
from proxy.singleflight import SingleFlight
from proxy.storage.pages import StoredPage
from proxy.upstream.remote import Document, NotModified, Remote, Validators

Answer = tuple[ProjectPage, Outcome]

DOUBT_ABSENCE = 60.0
"""Seconds between two answers "gone" that make a stored page go."""
DOUBT_SERIAL = 3600.0
"""Seconds after which an older serial is believed: upstream may have been rebuilt."""
REST = 5.0
"""Seconds in which a failing page is not asked for again while a stale one stands in."""


class MirrorPages:
    """Pages of one upstream: one shared refresh a page, and a stale page rather than none."""

    def __init__(
        self,
        name: str,
        remote: Remote,
        memory: PageMemory,
        events: Observer,
        lifetimes: Lifetimes,
        *,
        soft_deadline: float = 3.0,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """After ``soft_deadline`` seconds a stale page is answered; the refresh goes on."""
        self._name = name
        self._remote = remote
        self._memory = memory
        self._events = events
        self._lifetimes = lifetimes
        self._soft_deadline = soft_deadline
        self._clock = clock
        self._absent: BoundedDict[ProjectName, float] = BoundedDict(10_000)
        self._resting: BoundedDict[ProjectName, float] = BoundedDict(10_000)
        self._flights: SingleFlight[ProjectName, Answer] = SingleFlight()

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> Answer:
        """Raises ``NoSuchProject`` and ``UpstreamError``."""
        now = self._clock()
        if self._is_absent(project, now, checked_after):
            raise NoSuchProject(project)
        known = self._memory.get(project)
        if known is None or self._freshness(known, now) is not Freshness.FRESH:
            known = await self._memory.load(project)
        state = self._freshness(known, now)
        if known and known.head.checked >= checked_after:
            if state is Freshness.FRESH:
                return known.page, Outcome.HIT
            if state is Freshness.GRACE or self._rests(project, state, now):
                self._start(project, known)
                return stale(known)
        return await self._refreshed(project, known, state)

    def recheck(self, project: ProjectName) -> None:
        """Upstream's page is likely out of date (a file vanished or changed): ask it anew."""
        self._start(project, self._memory.get(project))

    def forget(self, project: ProjectName | None) -> None:
        if project is None:
            self._absent.clear()
        else:
            self._absent.pop(project, None)

    async def close(self) -> None:
        await self._flights.close()

    def _start(self, project: ProjectName, known: Known | None) -> asyncio.Task[Answer]:
        return self._flights.start(project, lambda: self._refresh(project, known))

    async def _refreshed(
        self, project: ProjectName, known: Known | None, state: Freshness
    ) -> Answer:
        joined = self._flights.under_way(project)
        flight = self._start(project, known)
        if known and state is not Freshness.UNUSABLE:
            await asyncio.wait({flight}, timeout=self._soft_deadline)
            if not flight.done():
                return stale(known)
        page, outcome = await asyncio.shield(flight)
        return page, Outcome.JOINED if joined and outcome is Outcome.MISS else outcome

    async def _refresh(self, project: ProjectName, known: Known | None) -> Answer:
        head = known.head if known else None
        if known and self._rests(project, self._freshness(known, self._clock()), self._clock()):
            return stale(known)
        try:
            answer = await self._remote.page(
                project, Validators(head.etag, head.last_modified) if head else None
            )
            if isinstance(answer, Document):
                return await self._accept(project, known, answer)
            assert known is not None  # only who sends validators is told "not modified"
            return self._confirm(project, known, answer)
        except NoSuchProject:
            return self._doubt_absence(project, known)
        except UpstreamError as error:
            self._events(UpstreamFailed(self._name, project, error.reason))
            if known is None or self._freshness(known, self._clock()) is Freshness.UNUSABLE:
                raise
            self._resting[project] = self._clock() + REST
            return stale(known)

    async def _accept(
        self, project: ProjectName, known: Known | None, document: Document
    ) -> Answer:
        if known and (since := self._older_since(known.head, document)):
            return self._keep_doubting(project, known, since)
        head, page = await off_loop(len(document.body), lambda: self._read(project, document))
        if known and known.page.files and not page.files and "json" not in head.content_type:
            # It lost every link at once: a portal or an error page, not news.
            raise UnreadablePage(self._name, "its page, which had files, came without a link")
        kept = self._memory.keep(project, head, page)
        if document.storable or self._lifetimes.minimum > 0:
            self._memory.store(project, head, document.body)
        self._vouched(project)
        return kept.page, Outcome.MISS

    def _read(self, project: ProjectName, document: Document) -> tuple[StoredPage, ProjectPage]:
        head = StoredPage(
            url=document.url,
            content_type=document.content_type,
            checked=self._clock(),
            lifetime=document.lifetime,
            must_revalidate=document.must_revalidate,
            etag=document.etag,
            last_modified=document.last_modified,
            serial=document.serial,
            digest=hashlib.sha256(document.body).hexdigest(),
        )
        return head, self._memory.read(project, head, document.body)

    def _confirm(self, project: ProjectName, known: Known, answer: NotModified) -> Answer:
        head = msgspec.structs.replace(
            known.head,
            checked=self._clock(),
            lifetime=answer.lifetime,
            must_revalidate=answer.must_revalidate,
            last_modified=answer.last_modified or known.head.last_modified,
            serial=answer.serial or known.head.serial,
            doubted=None,
        )
        return self._renew(project, known, head), Outcome.REVALIDATED

    def _doubt_absence(self, project: ProjectName, known: Known | None) -> Answer:
        """One answer "gone" for a page that was there may be a fault; a second is believed."""
        now = self._clock()
        since = (known.head.doubted or now) if known else now
        if known and now - since < DOUBT_ABSENCE:
            return self._keep_doubting(project, known, since)
        if known:
            self._memory.forget(project)
        self._absent[project] = now
        self._vouched(project)
        raise NoSuchProject(project)

    def _keep_doubting(self, project: ProjectName, known: Known, since: float) -> Answer:
        head = msgspec.structs.replace(
            known.head, checked=self._clock(), lifetime=DOUBT_ABSENCE, doubted=since
        )
        return self._renew(project, known, head), Outcome.STALE

    def _older_since(self, head: StoredPage, document: Document) -> float | None:
        """Since when upstream sends older serials, while the stored page is to be preferred."""
        if document.serial is None or head.serial is None or document.serial >= head.serial:
            return None
        since = head.doubted or self._clock()
        return since if self._clock() - since < DOUBT_SERIAL else None

    def _renew(self, project: ProjectName, known: Known, head: StoredPage) -> ProjectPage:
        """The known page under a new head."""
        kept = self._memory.keep(project, head, known.page)
        self._memory.touch(project, head)
        self._vouched(project)
        return kept.page

    def _vouched(self, project: ProjectName) -> None:
        self._resting.pop(project, None)
        self._events(PageChanged(project))

    def _freshness(self, known: Known | None, now: float) -> Freshness:
        return freshness(known.head if known else None, now, self._lifetimes)

    def _rests(self, project: ProjectName, state: Freshness, now: float) -> bool:
        return state is not Freshness.UNUSABLE and self._resting.get(project, 0.0) > now

    def _is_absent(self, project: ProjectName, now: float, checked_after: float) -> bool:
        checked = self._absent.get(project)
        if checked is None:
            return False
        return checked >= checked_after and 0 <= now - checked < self._lifetimes.absence


def stale(known: Known) -> Answer:
    return msgspec.structs.replace(known.page, fresh_until=0.0), Outcome.STALE
