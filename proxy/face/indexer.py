"""Keeps the file of search up to date, with the lowest priority.

A project is looked at again after its page has changed or a file of it has arrived, once that has
stopped for a moment: an install is never slower for it. Nothing is requested from an upstream.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Set
from typing import TYPE_CHECKING

from proxy.events import AnswerServed, Event, Outcome, PageChanged
from proxy.indexes import Explanation, Index
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import end_tasks
from proxy.storage import HELD, PRIVATE, Listing, SearchFile

if TYPE_CHECKING:
    from proxy.face.descriptions import Descriptions

log = logging.getLogger(__name__)

QUIET = 2.0
"""Seconds without an event before projects are looked at."""
LONGEST_WAIT = 30.0
"""Seconds after which they are looked at in any case."""
PACE = 5
"""How many times longer it rests than it works."""
RECONCILE = 600.0
"""Seconds between two comparisons with the lists of the indexes."""
MAX_DIRTY = 20_000
CATCH_UP = 0.2
"""Seconds that a search waits for what has changed just before."""
LONGEST_TURN = 2.0
"""Seconds that a search waits for the task that compares lists."""
CATCH_UP_SHOWN = 1.0
"""Seconds that it waits for the details of the projects that it shows."""
ROWS = 5000
"""In one transaction."""


class Indexer:
    """An observer of pages and files, and a task."""

    def __init__(
        self,
        search: SearchFile,
        indexes: Callable[[], Iterable[Index]],
        descriptions: Callable[[], Descriptions],
        private_names: Callable[[], Awaitable[Set[str]]],
        poll: Callable[[], None] = lambda: None,
        note: Callable[[str, str, str], None] = lambda kind, project, text: None,
    ) -> None:
        """``indexes``: all that are served. ``private_names``: projects of directories.
        ``descriptions`` imports them when it is first called: a start does not need them.
        ``poll`` has changes of directories announced. ``note`` gets what people should know: a
        kind of ``Recent``, the project and a sentence.
        """
        self._search = search
        self._indexes = indexes
        self._descriptions = descriptions
        self._private_names = private_names
        self._poll = poll
        self._note_happening = note
        self._dirty: dict[ProjectName, float] = {}
        """With the time at which they were noted."""
        self._seen_files: set[tuple[str, str]] = set()
        self._fetched: set[tuple[str, str]] = set()
        """Of them those that nothing was said about so far."""
        self._all = True
        self._event = 0.0
        self._first = 0.0
        self._reconciled = -RECONCILE
        self._wake = asyncio.Event()
        self._turn = asyncio.Lock()
        self._task: asyncio.Task[None] | None = None

    def observe(self, event: Event) -> None:
        """For ``PageChanged``, and ``AnswerServed``: a file is complete when its answer ends."""
        if isinstance(event, PageChanged):
            if event.project is None:
                self._all = True
                self._wake.set()
            else:
                self._note(event.project)
        elif isinstance(event, AnswerServed) and event.filename and event.project:
            if event.cached or event.outcome in (None, Outcome.LOCAL):
                return
            key = (event.project, event.filename)
            if key not in self._seen_files:
                if len(self._seen_files) > MAX_DIRTY:
                    self._seen_files.clear()
                    self._fetched.clear()
                self._seen_files.add(key)
                self._fetched.add(key)
                self._note(event.project)

    def start(self) -> None:
        self._task = asyncio.create_task(self._tend())

    async def close(self) -> None:
        if self._task:
            await end_tasks(self._task)

    async def catch_up(self, projects: Iterable[str] = ()) -> None:
        """Look at what has changed, and at these projects, for a moment."""
        self._poll()
        wanted = list(projects)
        for project in wanted:
            self._dirty.setdefault(ProjectName(project), 0.0)
        try:
            await asyncio.wait_for(self._turn.acquire(), LONGEST_TURN)
        except TimeoutError:  # a large cache is being compared: what is known by now is shown
            return
        try:
            if self._all:
                await self._reconcile()
            await self._look_until(time.monotonic() + (CATCH_UP_SHOWN if wanted else CATCH_UP))
        finally:
            self._turn.release()

    async def _look_until(self, end: float) -> None:
        for project, noted in list(self._dirty.items()):
            if time.monotonic() > end:
                return
            await self._look(project)
            if time.monotonic() - noted > QUIET:  # else its file may not be stored so far
                self._dirty.pop(project, None)

    def _note(self, project: ProjectName) -> None:
        now = time.monotonic()
        if len(self._dirty) < MAX_DIRTY:
            self._dirty[project] = now
        self._event, self._first = now, self._first or now
        self._wake.set()

    async def _tend(self) -> None:
        while True:
            try:
                async with self._turn:
                    if self._all or time.monotonic() - self._reconciled > RECONCILE:
                        await self._reconcile()
                await self._wait()
                await self._work()
            except Exception as error:
                log.error("search could not be brought up to date", exc_info=error)
                await asyncio.sleep(LONGEST_WAIT)

    async def _wait(self) -> None:
        """Wait until a change, and then until changes pause."""
        if not self._dirty and not self._all:
            self._wake.clear()
            try:
                await asyncio.wait_for(self._wake.wait(), RECONCILE)
            except TimeoutError:
                return
        while True:
            now = time.monotonic()
            rest = min(self._event + QUIET, (self._first or now) + LONGEST_WAIT) - now
            if rest <= 0:
                self._first = 0.0
                return
            await asyncio.sleep(rest)

    async def _work(self) -> None:
        while self._dirty:
            started = time.monotonic()
            async with self._turn:
                if self._dirty:
                    await self._look(self._dirty.popitem()[0])
            await asyncio.sleep((time.monotonic() - started) * PACE)

    async def _look(self, project: ProjectName) -> None:
        for index in _distinct(self._indexes()).values():
            found = await index.explain(project)
            if found.page is None or found.listed is None:
                await self._search.remove(index.name, [project])
            else:
                await self._put(index, found)

    def _say_yanked(self, page: ProjectPage) -> None:
        """Files that were sent although their index has yanked them."""
        for file in page.files:
            if (page.project, file.filename) in self._fetched:
                self._fetched.discard((page.project, file.filename))
                if file.yanked:
                    why = f": {file.yanked}" if isinstance(file.yanked, str) else ""
                    text = f"{file.filename} is yanked, and was sent{why}"
                    self._note_happening("fetched", page.project, text)

    async def _put(self, index: Index, found: Explanation) -> None:
        assert found.listed
        if self._fetched:
            self._say_yanked(found.listed)
        listing, needs = await self._descriptions().listing(index, found)
        await self._search.put(index.name, [listing], needs)

    async def _reconcile(self) -> None:
        """Compare names alone: details come with use, as pages would crowd out others."""
        self._all = False
        self._reconciled = time.monotonic()
        private = await self._private_names()
        for index in _distinct(self._indexes()).values():
            try:
                names = await index.projects()
            except Exception as error:  # noqa: BLE001 (a directory that cannot be read now)
                log.info("%s cannot be listed for search: %s", index.name, error)
                continue
            known = await self._search.names(index.name)
            if gone := known - names:
                await self._search.remove(index.name, gone)
            new = sorted(names - known)
            for at in range(0, len(new), ROWS):
                rows = [
                    Listing(name, PRIVATE if name in private else HELD)
                    for name in new[at : at + ROWS]
                ]
                await self._search.put(index.name, rows)
            self._dirty |= dict.fromkeys((name for name in new if name in private), 0.0)


def _distinct(indexes: Iterable[Index]) -> Mapping[str, Index]:
    """By name: the index at the root may be served a second time."""
    return {index.name: index for index in indexes}
