"""Runs guesses: few at a time, the most urgent first, and only while upstream has little to do.

Keeps the pages in use fresh: rechecks them shortly before they expire.
"""

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
from proxy.runtime import BoundedDict

log = logging.getLogger(__name__)

Work = Callable[[], Coroutine[Any, Any, None]]

SHARE_FOR_PAGES = 1 / 3
"""Guesses about pages and metadata that run at once, as a share of all connections ..."""
SHARE_FOR_FILES = 1 / 8
"""... and about files."""
BUSY_SHARE = 3 / 4
"""Requests to upstream, of whoever, beside which no further guess begins, as such a share ..."""
BUSY_SHARE_FOR_FILES = 1 / 2
"""... and none about a file."""
START_DELAY = 0.01
"""Seconds after which it is looked again whether upstream has less to do."""
BUSY_PAUSE = 0.002
"""Seconds in which a client asks for the next thing at once, which is not to meet with guesses:
their answers would come together, and one would wait for the other to be dealt with."""
FAILURE_PAUSE = 10.0
"""Seconds for which an upstream that failed is left alone."""
MAX_WAITING_GUESSES = 5_000
"""Guesses that wait; further ones are dropped."""
_OF_ONE_THING = (DigestMismatch, UnreadablePage)
"""Errors that say nothing about other answers of the same upstream."""


class _Lane:
    """Guesses of one kind."""

    def __init__(self, at_once: int, busy: int) -> None:
        self.at_once = at_once
        self.busy = busy
        self.running = 0
        self.waiting: list[tuple[int, int, Work]] = []


class Scheduler:
    """Owns the tasks of all guesses. What fails is a line in the debug log."""

    def __init__(self, in_flight: Callable[[], int], connections: int) -> None:
        """``in_flight``: how many requests upstream is answering now, of guesses too;
        ``connections``: how many it can at most.
        """
        self._in_flight = in_flight
        self._lanes = tuple(
            _Lane(max(1, int(at_once * connections)), max(1, int(busy * connections)))
            for at_once, busy in (
                (SHARE_FOR_PAGES, BUSY_SHARE),
                (SHARE_FOR_FILES, BUSY_SHARE_FOR_FILES),
            )
        )
        self._number = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._again: asyncio.Handle | None = None
        self._due = 0.0
        self._rests_until = 0.0
        self._closed = False

    @property
    def idle(self) -> bool:
        """Whether nothing runs and nothing waits."""
        return not self._tasks and not any(lane.waiting for lane in self._lanes)

    def add(self, urgency: int, work: Work, *, file: bool = False, pause: float = 0.0) -> None:
        """Lower is more urgent; among equals the first comes first. ``pause``: seconds."""
        lane = self._lanes[file]
        if len(lane.waiting) < MAX_WAITING_GUESSES and not self._closed:
            self._number += 1
            heapq.heappush(lane.waiting, (urgency, self._number, work))
            self._soon(pause)

    async def close(self) -> None:
        self._closed = True
        if self._again:
            self._again.cancel()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _soon(self, seconds: float) -> None:
        """Look what may begin: not now, as somebody is about to be answered."""
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
            if self._loop.time() < self._rests_until:
                lane.waiting.clear()
            begun = 0  # these will be in flight, and are not yet
            while lane.waiting and lane.running < lane.at_once:
                if self._in_flight() + begun >= lane.busy:
                    self._soon(START_DELAY)
                    break
                self._start(lane, heapq.heappop(lane.waiting)[2])
                begun += 1

    def _start(self, lane: _Lane, work: Work) -> None:
        lane.running += 1
        # In a context of its own: what happens here is not to be taken for a client's request.
        task = self._loop.create_task(self._run(work), context=contextvars.Context())
        self._tasks.add(task)
        task.add_done_callback(lambda done: self._ended(lane, done))

    def _ended(self, lane: _Lane, task: asyncio.Task[None]) -> None:
        lane.running -= 1
        self._tasks.discard(task)
        self._soon(0.0)

    async def _run(self, work: Work) -> None:
        try:
            await work()
        except ProxyError as error:
            log.debug("a guess came to nothing: %s", error)
            if isinstance(error, UpstreamError) and not isinstance(error, _OF_ONE_THING):
                self._rests_until = self._loop.time() + FAILURE_PAUSE
        except Exception:
            log.exception("a guess failed")


IN_USE = 3600.0
"""Seconds after it was asked for in which a page is kept fresh."""
REFRESH_AHEAD = 45.0
"""Seconds before its expiry at which a page is rechecked; those that live no longer are not."""
REFRESH_PAUSE = 0.25
"""Seconds between two rechecks, so that they are never many at once."""
MAX_REFRESHED_PAGES = 2_000
"""Pages that are kept fresh: with that pause more could not be, while they live ten minutes."""


class _Use(NamedTuple):
    asked: float
    expires: float


class Refresher:
    """Rechecks one page after the other."""

    def __init__(
        self, index: Index, *, pause: float = REFRESH_PAUSE, clock: Callable[[], float] = time.time
    ) -> None:
        """``pause``: seconds between two rechecks."""
        self._pause = pause
        self._index = index
        self._clock = clock
        self._uses: BoundedDict[ProjectName, _Use] = BoundedDict(MAX_REFRESHED_PAGES)

    def asked(self, page: ProjectPage) -> None:
        """The page is in use."""
        self._note(page, self._clock())

    async def refresh(self) -> None:
        """Recheck what expires soon."""
        now = self._clock()
        due = [project for project, use in self._uses.items() if use.expires - now <= REFRESH_AHEAD]
        for project in due:
            use = self._uses.pop(project, None)
            if use and now - use.asked <= IN_USE:
                await self._recheck(project, use.asked)
                await asyncio.sleep(self._pause)

    async def _recheck(self, project: ProjectName, asked: float) -> None:
        try:
            page = await self._index.page(project, self._clock())
        except ProxyError as error:
            log.debug("not rechecked: %s", error)
            return
        if project not in self._uses:
            self._note(page, asked)

    def _note(self, page: ProjectPage, asked: float) -> None:
        """Local pages never expire, others may live too short for this."""
        expires = page.fresh_until
        if expires is not None and expires - self._clock() > REFRESH_AHEAD:
            self._uses[page.project] = _Use(asked, expires)
