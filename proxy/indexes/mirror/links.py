"""Links to upstream's files: a signed link may expire before the page that lists it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

from proxy.errors import GoneUpstream, NoSuchProject, UpstreamError, UpstreamRefused
from proxy.events import Outcome
from proxy.model import File, ProjectName, ProjectPage
from proxy.upstream import Body, Remote

T = TypeVar("T")

Renew = Callable[[ProjectName, float], Awaitable[tuple[ProjectPage, Outcome]]]
"""Returns the page, revalidated at or after a Unix time in seconds; a hit if it was already."""


class Link:
    """The link of one file, or of its sibling, for one request.

    If upstream refuses the link, and the page is older than the request, the page is fetched again,
    once, and its new link is used.
    """

    def __init__(
        self,
        remote: Remote,
        renew: Renew,
        project: ProjectName,
        file: File,
        digest: str,
        asked: float,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``digest``: that of the distribution. ``asked``: Unix time in seconds of the request."""
        self.project = project
        self.file = file
        self.digest = digest
        self.renewed = False
        """Whether the page was fetched again."""
        self._remote = remote
        self._renew = renew
        self._asked = asked
        self._clock = clock
        self._url = file.url

    async def size(self) -> int | None:
        """As ``Remote.size``; raises ``NoSuchFile`` if the new page does not list the file."""
        return await self._use(self._remote.size)

    async def read(self, limit: int) -> bytes:
        """As ``Remote.read``."""
        return await self._use(lambda url: self._remote.read(url, limit))

    @asynccontextmanager
    async def open(self, start: int, etag: str | None) -> AsyncIterator[Body]:
        """As ``Fetch``."""
        async with AsyncExitStack() as stack:

            def ask(url: str) -> Awaitable[Body]:
                return stack.enter_async_context(self._remote.open(url, start=start, etag=etag))

            yield await self._use(ask)

    async def _use(self, ask: Callable[[str], Awaitable[T]]) -> T:
        asked, self._asked = self._asked, self._clock()  # a later use resumes a download
        try:
            return await ask(self._url)
        except (GoneUpstream, UpstreamRefused):
            newer = await self._newer(asked)
            if newer in ("", self._url):
                raise
        self._url = newer
        return await ask(newer)

    async def _newer(self, asked: float) -> str:
        """The link on a page that is not older than the request; empty if there is none."""
        try:
            page, outcome = await self._renew(self.project, asked)
        except (NoSuchProject, UpstreamError):
            return ""
        self.renewed = outcome is not Outcome.HIT
        return page.file(self.file.filename, None if self.digest == "-" else self.digest).url
