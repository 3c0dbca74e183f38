"""Documents of PyPI's JSON API about projects of an upstream, cached in memory.

Installers do not need them, so they are not stored, and after a failure the upstream is not asked
for a minute: its pages and files matter more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from cachetools import LRUCache

from proxy.errors import UpstreamError
from proxy.model import ProjectName
from proxy.runtime import SingleFlight
from proxy.upstream import RemoteIndex

log = logging.getLogger(__name__)

LIFETIME = 900.0
"""Seconds for which a document is used; PyPI allows the same."""
PAUSE_AFTER_FAILURE = 60.0
"""Seconds without requests after one that failed."""
MAX_MEMORY = 16 * 2**20
"""Bytes of the documents that are kept."""
_OVERHEAD = 500
"""Bytes that an entry without a document counts as: clients may ask for any version."""

DocumentKey = tuple[ProjectName, str]


class ProjectDocuments:
    """The documents of one upstream."""

    def __init__(self, remote: RemoteIndex | None, clock: Callable[[], float] = time.time) -> None:
        """``remote`` is None offline: then there are no documents."""
        self._remote = remote
        self._clock = clock
        self._paused_until = 0.0
        self._known: LRUCache[DocumentKey, tuple[float, bytes]] = LRUCache(
            MAX_MEMORY, getsizeof=lambda entry: len(entry[1]) + _OVERHEAD
        )
        self._flights: SingleFlight[DocumentKey, bytes] = SingleFlight()

    async def get(self, project: ProjectName, version: str = "") -> bytes:
        """The document of the project, or of one version; empty if there is none.

        A document that upstream does not send again is used for longer.
        """
        key = project, version
        asked, document = self._known.get(key, (0.0, b""))
        now = self._clock()
        if self._remote is None or 0 <= now - asked < LIFETIME or now < self._paused_until:
            return document
        remote = self._remote
        try:
            return await self._flights.do(key, lambda: self._fetched(remote, key))
        except UpstreamError as error:
            self._paused_until = self._clock() + PAUSE_AFTER_FAILURE
            log.info("no document about %s: %s", project, error)
            return document

    def forget(self, project: ProjectName | None) -> None:
        """Drop the documents of one project, or all."""
        for key in [each for each in self._known if project in (None, each[0])]:
            self._known.pop(key)

    async def close(self) -> None:
        await self._flights.close()

    async def _fetched(self, remote: RemoteIndex, key: DocumentKey) -> bytes:
        document = await remote.project_document(*key) or b""
        if len(document) + _OVERHEAD <= MAX_MEMORY:
            self._known[key] = self._clock(), document
        return document
