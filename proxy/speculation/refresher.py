"""Keeps the pages in use fresh: rechecks them shortly before they expire."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from typing import NamedTuple

from proxy.bounded import BoundedDict
from proxy.errors import ProxyError
from proxy.indexes.base import Index
from proxy.model import ProjectName, ProjectPage

log = logging.getLogger(__name__)

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
