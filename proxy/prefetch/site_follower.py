"""Fetches the files that another Waystation publishes, at once, before a client requests them.

The feed of changes says which projects have new pages and files. Pages are revalidated at once;
files are fetched after that, one after the other. A restart continues with the first change of
which a file may be missing.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from proxy.errors import Denied, NotFound, ProxyError, UpstreamError
from proxy.indexes import Index
from proxy.model import METADATA, ProjectName, normalize
from proxy.runtime import for_each, try_lock
from proxy.storage import Key, RecordKind, Records
from proxy.upstream import ChangeFeed, FeedChange

log = logging.getLogger(__name__)

AnnounceRenewed = Callable[[Sequence[ProjectName]], Awaitable[None]]
"""Has all processes read the stored pages of projects again."""
WITH_BYTES = ("publish", "replace", "restore")
"""Actions after which a file is there to be fetched."""
LOCK_INTERVAL = 1.0
"""Seconds between looks whether another process still follows."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 30.0
"""Seconds without requests after one that failed; each pause is twice as long as the one before."""
PAGES_AT_ONCE = 4
ATTEMPTS = 5
"""To fetch a file."""
SHORTEST_POLL = 1.0
"""Seconds between two requests for changes, if there are none."""


class SiteFollower:
    """Of one mirror. Of all processes on a cache one follows: the one that has the lock."""

    def __init__(
        self,
        name: str,
        index: Index,
        feed: ChangeFeed,
        records: Records,
        namespace: str,
        lock: Path,
        announce: AnnounceRenewed,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    ) -> None:
        """``index``: the mirror with its rules. ``namespace``: of the keys of records."""
        self._name = name
        self._index = index
        self._feed = feed
        self._records = records
        self._files_key = Key(RecordKind.FOLLOWED, namespace, "files")
        self._pages_key = Key(RecordKind.FOLLOWED, namespace, "pages")
        self._lock = lock
        self._announce = announce
        self._clock = clock
        self._sleep = sleep
        self.problem = ""
        """Why the other server cannot be followed now, as far as this process knows."""
        self._number: int | None = None
        self._caught_up = 0
        self._fetching: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Follow, whenever no other process does, until this is cancelled."""
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            while True:
                with try_lock(self._lock) as mine:
                    if mine:
                        await self._follow()
                await self._sleep(LOCK_INTERVAL)
        finally:
            if self._fetching:
                self._fetching.cancel()
                await asyncio.wait({self._fetching})

    async def catch_up(self) -> None:
        """Revalidate the pages of what has changed by now. Raises ``UpstreamError``."""
        number = self._number
        if number is None:  # another process follows
            number = max(self._caught_up, await self._stored(self._pages_key))
        changes = await self._feed.after(number, wait=False)
        await self._renew(changes)
        if changes:
            self._caught_up = changes[-1].number

    async def _follow(self) -> None:
        pause = 0.0
        while True:
            asked = self._clock()
            try:
                if self._number is None or pause:
                    self._number = await self._valid(await self._stored(self._files_key))
                changes = await self._feed.after(self._number, wait=not pause)
                await self._renew(changes)
            except UpstreamError as error:
                if not pause:
                    log.warning("%s is not followed now: %s", self._name, error)
                self.problem = error.reason
                pause = min(LONGEST_PAUSE, max(FIRST_PAUSE, 2 * pause))
                await self._sleep(pause)
                continue
            if pause:
                log.info("%s is followed again", self._name)
            pause, self.problem = 0.0, ""
            if changes:
                self._number = changes[-1].number
                await self._records.put(self._pages_key, b"%d" % self._number)
                self._fetching = asyncio.create_task(self._fetch(changes, self._fetching))
            elif (
                self._clock() - asked < SHORTEST_POLL
            ):  # what has changed may not be seen from here
                await self._sleep(SHORTEST_POLL)

    async def _stored(self, key: Key) -> int:
        data = await self._records.get(key)
        return int(data) if data and data.isdigit() else 0

    async def _valid(self, number: int) -> int:
        """The number; 0 if the feed does not have that change: it has begun again."""
        if number == 0:
            return 0
        found = await self._feed.after(number - 1, wait=False)
        return number if found and found[0].number == number else 0

    async def _renew(self, changes: Sequence[FeedChange]) -> None:
        projects = list(dict.fromkeys(filter(None, map(_project, changes))))
        if not projects:
            return
        now = self._clock()
        failed: list[ProjectName] = []

        async def renew(project: ProjectName) -> None:
            try:
                page = await self._index.page(project, now)
            except (NotFound, Denied):
                return
            except UpstreamError:
                failed.append(project)
            else:
                if page.checked is not None and page.checked < now:  # a stale one
                    failed.append(project)

        await for_each(projects, renew, PAGES_AT_ONCE)
        await self._announce(projects)
        if failed:
            raise UpstreamError(self._name, f"the page of {failed[0]} cannot be revalidated")

    async def _fetch(
        self, changes: Sequence[FeedChange], before: asyncio.Task[None] | None
    ) -> None:
        """The files of these changes; then the changes need not be read again."""
        if before:
            await asyncio.wait({before})
        for change in changes:
            project = _project(change)
            if project and change.action in WITH_BYTES:
                await self._try_file(project, change)
        await self._records.put(self._files_key, b"%d" % changes[-1].number)

    async def _try_file(self, project: ProjectName, change: FeedChange) -> None:
        """A file that cannot be fetched is not missed: it is fetched when a client wants it."""
        for attempt in range(ATTEMPTS):
            try:
                await self._fetch_file(project, change)
            except UpstreamError as error:
                log.info("%s: %s is not fetched: %s", self._name, change.filename, error)
                await self._sleep(FIRST_PAUSE * 2.0**attempt)
            except ProxyError as error:  # deleted or refused
                log.info("%s: %s is left out: %s", self._name, change.filename, error)
                return
            else:
                return

    async def _fetch_file(self, project: ProjectName, change: FeedChange) -> None:
        for suffix in ("", METADATA) if change.filename.endswith(".whl") else ("",):
            name = change.filename + suffix
            artifact = await self._index.file(project, name, change.sha256 or None)
            if artifact.blob.needs_download:
                async for _ in artifact.blob.chunks():
                    pass


def _project(change: FeedChange) -> ProjectName | None:
    """None: it is no name of a project."""
    try:
        return normalize(change.project)
    except ValueError:
        return None
