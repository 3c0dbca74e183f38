"""Links to upstream's files: a signed link may expire before the page that lists it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import TypeVar

from proxy.errors import (
    Denied,
    DigestMismatch,
    GoneUpstream,
    NoSuchFile,
    NoSuchProject,
    RefusedByUpstreamRule,
    UpstreamError,
    UpstreamRefused,
)
from proxy.events import Outcome
from proxy.indexes.mirror.other_addresses import OtherAddresses
from proxy.model import File, ProjectName, ProjectPage
from proxy.upstream import Body, RemoteIndex

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
        remote: RemoteIndex,
        renew: Renew,
        project: ProjectName,
        file: File,
        digest: str,
        asked: float,
        clock: Callable[[], float] = time.time,
        others: OtherAddresses | None = None,
    ) -> None:
        """``digest``: that of the distribution. ``asked``: Unix time in seconds of the request.
        ``others``: where the same bytes are too.
        """
        self.project = project
        self.file = file
        self.digest = digest
        self.renewed = False
        """Whether the page was fetched again."""
        self._remote = remote
        self._renew = renew
        self._asked = asked
        self._clock = clock
        self._others = others
        self._url = file.url
        self._wrong: set[str] = set()

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
        if self._others and self._others.is_distrusted(self.project, self._url):
            with suppress(UpstreamError):
                return await self._elsewhere(ask, UpstreamError(self._remote.name, "no address"))
        try:
            return await ask(self._url)
        except RefusedByUpstreamRule as error:  # neither an outage nor a reason to ask elsewhere
            with suppress(NoSuchFile):
                await self._newer(asked)
            raise Denied(self.project, error.reason, error.index, self.file.filename) from error
        except (GoneUpstream, UpstreamRefused) as error:
            newer = await self._newer(asked)
            if newer in ("", self._url):
                return await self._elsewhere(ask, error)
        except UpstreamError as error:
            return await self._elsewhere(ask, error)
        self._url = newer
        return await ask(newer)

    async def _elsewhere(
        self, ask: Callable[[str], Awaitable[T]], error: GoneUpstream | UpstreamError
    ) -> T:
        """The answer of another address, if there are several. Raises ``error`` if none has one."""
        if self._others:
            async for url in self._others.urls(self.project, self.file, self.digest):
                if url in self._wrong:
                    continue
                with suppress(GoneUpstream, UpstreamError):
                    answer = await ask(url)
                    self._url = url
                    return answer
        raise error

    def distrust(self, error: DigestMismatch) -> bool:
        """The bytes were wrong. Whether another address may have the right ones."""
        if self._others is None or self._url in self._wrong:
            return False
        self._wrong.add(self._url)
        self._others.distrust(self.project, self._url, error.reason)
        return True

    async def _newer(self, asked: float) -> str:
        """The link on a page that is not older than the request; empty if there is none."""
        try:
            page, outcome = await self._renew(self.project, asked)
        except (NoSuchProject, UpstreamError):
            return ""
        self.renewed = outcome is not Outcome.HIT
        return page.file(self.file.filename, None if self.digest == "-" else self.digest).url
