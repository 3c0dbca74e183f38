"""When prefetching happens: guesses while upstream is idle enough, pages before they expire."""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import logging
import time
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from proxy.errors import DigestMismatch, ProxyError, UnreadablePage, UpstreamError
from proxy.indexes import Index
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import BoundedDict, end_tasks

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]

SHARE_FOR_PAGES = 1 / 3
"""Share of all connections for guesses about pages and metadata that run at one time."""
SHARE_FOR_FILES = 1 / 8
"""The same for guesses about files."""
BUSY_SHARE = 3 / 4
"""Share of all connections that may be busy, with any request, when a guess begins."""
BUSY_SHARE_FOR_FILES = 1 / 2
"""The same for a guess about a file."""
START_DELAY = 0.01
"""Seconds between two checks whether upstream is less busy."""
BUSY_PAUSE = 0.002
"""Seconds in which a client often sends its next request. Guesses begin after that: else both
answers would come together, and the client's would wait until the other is processed."""
FAILURE_PAUSE = 10.0
"""Seconds without guesses after upstream has failed."""
MAX_WAITING_GUESSES = 5_000
"""Guesses that wait; further ones are dropped."""
_ABOUT_ONE_ANSWER = (DigestMismatch, UnreadablePage)
"""Errors that say nothing about the other answers of an upstream."""


class _Lane:
    """Guesses of one kind."""

    def __init__(self, limit: int, busy: int) -> None:
        """``limit``: guesses at one time; ``busy``: requests beside which none begins."""
        self.limit = limit
        self.busy = busy
        self.running = 0
        self.waiting: list[tuple[int, int, Work]] = []


class Scheduler:
    """Owns the tasks of all guesses. A failure is a line in the debug log."""

    def __init__(self, in_flight: Callable[[], int], connections: int) -> None:
        """``in_flight``: the number of requests that upstream is answering now, those of guesses
        included; ``connections``: the largest such number.
        """
        self._in_flight = in_flight
        self._lanes = tuple(
            _Lane(max(1, int(limit * connections)), max(1, int(busy * connections)))
            for limit, busy in (
                (SHARE_FOR_PAGES, BUSY_SHARE),
                (SHARE_FOR_FILES, BUSY_SHARE_FOR_FILES),
            )
        )
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._due = 0.0
        self._paused_until = 0.0
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._tasks and not any(lane.waiting for lane in self._lanes)

    def add(self, urgency: int, work: Work, *, file: bool = False, pause: float = 0.0) -> None:
        """A lower ``urgency`` runs sooner; equals run in order. ``pause``: seconds until then."""
        lane = self._lanes[file]
        if len(lane.waiting) < MAX_WAITING_GUESSES and not self._closed:
            self._number += 1
            heapq.heappush(lane.waiting, (urgency, self._number, work))
            self._start_in(pause)

    async def close(self) -> None:
        self._closed = True
        if self._again:
            self._again.cancel()
        await end_tasks(*self._tasks)

    def _start_in(self, seconds: float) -> None:
        """Start guesses after that time: not at once, as an answer is about to be sent."""
        due = self._loop.time() + seconds
        if self._closed or (self._again and self._due <= due):
            return
        if self._again:
            self._again.cancel()
        self._due = due
        if seconds:
            self._again = self._loop.call_later(seconds, self._begin)
        else:
            self._again = self._loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._again = None
        for lane in self._lanes:
            if self._loop.time() < self._paused_until:
                lane.waiting.clear()
            begun = 0  # these are not yet in flight, but will be
            while lane.waiting and lane.running < lane.limit:
                if self._in_flight() + begun >= lane.busy:
                    self._start_in(START_DELAY)
                    break
                self._start(lane, heapq.heappop(lane.waiting)[2])
                begun += 1

    def _start(self, lane: _Lane, work: Work) -> None:
        lane.running += 1
        # In a new context: outcomes of this work must not be recorded for a client's request.
        task = self._loop.create_task(self._run(work), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(lane, done))

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        lane.running -= 1
        self._tasks.discard(task)
        self._start_in(0.0)

    async def _run(self, work: Work) -> None:
        try:
            await work()
        except ProxyError as error:
            log.debug("a prefetch failed: %s", error)
            if isinstance(error, UpstreamError) and not isinstance(error, _ABOUT_ONE_ANSWER):
                self._paused_until = self._loop.time() + FAILURE_PAUSE
        except Exception:
            log.exception("a prefetch failed")


IN_USE = 3600.0
"""Seconds after its last request for which a page is kept fresh."""
REFRESH_AHEAD = 45.0
"""Seconds before its expiry at which a page is revalidated, if it lives longer than that."""
REFRESH_PAUSE = 0.25
"""Seconds between two revalidations, so that they never come in a burst."""
MAX_REFRESHED_PAGES = 2_000
"""Pages that are kept fresh: as many as that pause allows within ten minutes, their lifetime."""


class _Use(NamedTuple):
    requested: float
    expires: float


class Refresher:
    """Revalidates pages in use shortly before they expire, one after the other."""

    def __init__(
        self, index: Index, *, pause: float = REFRESH_PAUSE, clock: Callable[[], float] = time.time
    ) -> None:
        """``pause``: seconds between two revalidations."""
        self._pause = pause
        self._index = index
        self._clock = clock
        self._uses: BoundedDict[ProjectName, _Use] = BoundedDict(MAX_REFRESHED_PAGES)

    def requested(self, project: ProjectName, page: ProjectPage | None) -> None:
        """A client got the page; ``page`` is None where it came from the response cache."""
        if page:
            self._note(page, self._clock())
        elif use := self._uses.get(project):
            self._uses[project] = use._replace(requested=self._clock())

    async def refresh(self) -> None:
        """Revalidate the pages that expire soon."""
        now = self._clock()
        due = [project for project, use in self._uses.items() if use.expires - now <= REFRESH_AHEAD]
        for project in due:
            use = self._uses.pop(project, None)
            if use and now - use.requested <= IN_USE:
                await self._revalidate(project, use.requested)
                await asyncio.sleep(self._pause)

    async def _revalidate(self, project: ProjectName, requested: float) -> None:
        try:
            page = await self._index.page(project, self._clock())
        except ProxyError as error:
            log.debug("not revalidated: %s", error)
            return
        if project not in self._uses:
            self._note(page, requested)

    def _note(self, page: ProjectPage, requested: float) -> None:
        """Unless the page never expires, as local ones, or too soon."""
        expires = page.fresh_until
        if expires is not None and expires - self._clock() > REFRESH_AHEAD:
            self._uses[page.project] = _Use(requested, expires)
