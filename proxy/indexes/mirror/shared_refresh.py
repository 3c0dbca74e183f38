"""Asks upstream for a page once for all replicas: one of them asks, and the others wait for it."""

from __future__ import annotations

import asyncio
import time

from proxy.errors import NoSuchProject, UpstreamError
from proxy.events import Outcome
from proxy.indexes.mirror.page_cache import LoadedPage, PageCache
from proxy.indexes.mirror.refresh import PageResult, Refresh
from proxy.model import ProjectName
from proxy.storage import Leases, Turn

PATIENCE = 5.0
"""Seconds that a replica waits for another one before it asks upstream itself: clients give up
after 15."""
_ABSENT = "absent"
"""The outcome that a replica shares if upstream has no such project."""
_FAILED = "failed: "
"""Before the reason, if upstream failed: the others do not ask it one after the other."""


class SharedRefresh:
    """``Refresh`` under a lease.

    The lease ends when the page is stored. If the lease was lost, the fence keeps a page that was
    stored since.
    """

    def __init__(
        self, name: str, namespace: str, ask: Refresh, memory: PageCache, leases: Leases
    ) -> None:
        """``namespace`` as in ``MirrorStorage``."""
        self._name = name
        self._namespace = namespace
        self._ask = ask
        self._memory = memory
        self._leases = leases
        self._ending: set[asyncio.Task[None]] = set()

    async def __call__(
        self, project: ProjectName, known: LoadedPage | None, *, whole: bool = False
    ) -> PageResult:
        """As ``Refresh``; the page may be one that another replica has just fetched.

        ``whole``: another replica may ask for less, and is not waited for.
        """
        turn = await self._begin(project, known)
        until = time.monotonic() + PATIENCE
        while not whole:
            if newer := await self._newer(project, known):
                self._end_later(project, turn)
                return newer.page, Outcome.JOINED
            if turn.held or time.monotonic() >= until:
                break
            outcome = await self._leases.wait(turn.name, until - time.monotonic())
            if newer := await self._newer(project, known):
                return newer.page, Outcome.JOINED
            self._raise(project, outcome)
            turn = await self._begin(project, known)
        return await self._lead(project, known, turn, whole=whole)

    async def close(self) -> None:
        """Give the leases back."""
        await asyncio.gather(*self._ending, return_exceptions=True)

    async def _begin(self, project: ProjectName, known: LoadedPage | None) -> Turn:
        fence = known.head.fence if known else 0
        return await self._leases.begin(f"{self._namespace}/{project}", fence)

    async def _newer(self, project: ProjectName, known: LoadedPage | None) -> LoadedPage | None:
        """The stored page, if another replica has stored it since ``known`` was loaded."""
        found = await self._memory.load(project)
        if found is None or (known and not found.head.is_newer_than(known.head)):
            return None
        return found

    def _raise(self, project: ProjectName, outcome: str) -> None:
        if outcome == _ABSENT:
            self._memory.announce_absence(project)
            raise NoSuchProject(project)
        if outcome.startswith(_FAILED):
            raise UpstreamError(self._name, outcome.removeprefix(_FAILED))

    async def _lead(
        self, project: ProjectName, known: LoadedPage | None, turn: Turn, *, whole: bool
    ) -> PageResult:
        outcome = ""
        try:
            return await self._ask(project, known, whole=whole, fence=turn.fence)
        except NoSuchProject:
            outcome = _ABSENT
            raise
        except UpstreamError as error:
            outcome = f"{_FAILED}{error.reason}"
            raise
        finally:
            self._end_later(project, turn, outcome)

    def _end_later(self, project: ProjectName, turn: Turn, outcome: str = "") -> None:
        async def end() -> None:
            await self._memory.wait_stored(project)
            await self._leases.end(turn, outcome)

        if turn.held:
            task = asyncio.create_task(end())
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
