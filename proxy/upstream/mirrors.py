"""Several addresses of the same content as one upstream: a slow or dead one delays no request.

A page comes from one address as a whole. Of files the digest proves the bytes, wherever they are
from. An address that sent wrong bytes is not used for a while.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from email.utils import parsedate_to_datetime

from proxy.errors import NoSuchProject, UpstreamError
from proxy.model import ProjectName
from proxy.runtime import BoundedDict, end_tasks
from proxy.upstream.address_rules import origin_of
from proxy.upstream.answers import Body, NotModified, UpstreamDocument, Validators
from proxy.upstream.remote import Remote

log = logging.getLogger(__name__)

DISTRUST = 300.0
"""Seconds for which an address is not used after it sent wrong bytes."""
MAX_REMEMBERED = 10_000
"""Projects of which it is remembered which address sent their page."""

PageAnswer = UpstreamDocument | NotModified


class Mirrors:
    """The first address is the index itself: that a project is absent is certain from it alone."""

    def __init__(
        self,
        remotes: Sequence[Remote],
        *,
        patience: float,
        blamed: Callable[[ProjectName, str], None] = lambda project, reason: None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``patience``: seconds until the next address is asked as well. ``blamed`` is called with
        the project and the reason whenever an address sent wrong bytes.
        """
        self.name = remotes[0].name
        self._remotes = tuple(remotes)
        self._blamed = blamed
        self._patience = patience
        self._clock = clock
        self._distrusted: dict[str, float] = {}  # until when, by the address
        self._senders: BoundedDict[ProjectName, Remote] = BoundedDict(MAX_REMEMBERED)

    def allows(self, origin: str) -> bool:
        return any(remote.allows(origin) for remote in self._remotes)

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> UpstreamDocument | NotModified:
        """The first usable answer: of the next address too if one takes ``patience`` seconds.

        A page that is older than the stored one is taken only if no address has a newer one.
        """
        race = _Race(self._patience)
        old: tuple[Remote, PageAnswer] | None = None
        errors: list[Exception] = []
        async with aclosing(race.run(self._trusted(), project, validators)) as answers:
            async for remote, answer in answers:
                if isinstance(answer, NoSuchProject) and remote is self._remotes[0]:
                    raise answer
                if isinstance(answer, Exception):
                    errors.append(answer)
                elif _is_older(answer, validators):
                    old = old or (remote, answer)
                else:
                    self._senders[project] = remote
                    return answer
        if old:
            self._senders[project] = old[0]
            return old[1]
        doubt = UpstreamError(self.name, "is not asked now, and no other address has the project")
        raise next((each for each in errors if isinstance(each, UpstreamError)), doubt)

    async def other_pages(self, project: ProjectName, url: str) -> AsyncIterator[UpstreamDocument]:
        """The pages of all addresses but the one that ``url``, of a file, is from."""
        blamed = self._sender(project, url)
        for remote in self._trusted():
            if remote is not blamed:
                try:
                    answer = await remote.page(project)
                except (UpstreamError, NoSuchProject) as error:
                    log.info("%s: %s", remote.url, error)
                else:
                    assert isinstance(answer, UpstreamDocument)
                    yield answer

    def distrust(self, project: ProjectName, url: str, reason: str) -> None:
        """The bytes at ``url``, which a page of the project listed, are wrong."""
        remote = self._sender(project, url)
        log.warning("%s is not used for %g s: %s", remote.url, DISTRUST, reason)
        self._distrusted[remote.url] = self._clock() + DISTRUST
        self._blamed(project, reason)

    def is_distrusted(self, project: ProjectName, url: str) -> bool:
        return self._sender(project, url) not in self._trusted()

    async def project_document(self, project: ProjectName, version: str = "") -> bytes | None:
        """Of the index itself."""
        return await self._remotes[0].project_document(project, version)

    async def size(self, url: str) -> int | None:
        return await self._owner(url).size(url)

    async def read(self, url: str, limit: int) -> bytes:
        return await self._owner(url).read(url, limit)

    def open(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Body]:
        return self._owner(url).open(url, start=start, etag=etag)

    def _trusted(self) -> Sequence[Remote]:
        """In the order of the settings; all of them if none is trusted."""
        now = self._clock()
        found = [each for each in self._remotes if self._distrusted.get(each.url, 0.0) <= now]
        return found or self._remotes

    def _owner(self, url: str) -> Remote:
        """The address on the same origin, else the index itself."""
        return self._at(url) or self._remotes[0]

    def _sender(self, project: ProjectName, url: str) -> Remote:
        """The address of a file: by its origin, else by the sender of the project's page."""
        return self._at(url) or self._senders.get(project) or self._remotes[0]

    def _at(self, url: str) -> Remote | None:
        return next((each for each in self._remotes if _same_origin(each.url, url)), None)


class _Race:
    """Asks one address after the other, the next one when a former has failed or is slow."""

    def __init__(self, patience: float) -> None:
        self._patience = patience

    async def run(
        self, remotes: Sequence[Remote], project: ProjectName, validators: Validators | None
    ) -> AsyncGenerator[tuple[Remote, PageAnswer | Exception], None]:
        """All answers as they come. Closing the generator cancels the requests that still run."""
        waiting, running = list(remotes), dict[asyncio.Task[PageAnswer], Remote]()
        try:
            while waiting or running:
                if waiting:
                    remote = waiting.pop(0)
                    page = remote.page(project, _for(remote, validators))
                    running[asyncio.create_task(page)] = remote
                patience = self._patience if waiting else None
                done, _ = await asyncio.wait(
                    running, timeout=patience, return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    yield running.pop(task), _outcome(task)
        finally:
            await end_tasks(*running)


def _outcome(task: asyncio.Task[PageAnswer]) -> PageAnswer | UpstreamError | NoSuchProject:
    try:
        return task.result()
    except (UpstreamError, NoSuchProject) as error:
        return error


def _for(remote: Remote, validators: Validators | None) -> Validators | None:
    """Validators are sent only to the address that they are from."""
    if validators is None or not _same_origin(remote.url, validators.url):
        return None
    return validators


def _is_older(answer: PageAnswer, known: Validators | None) -> bool:
    """Whether the page is older than the one that is stored."""
    if known is None or isinstance(answer, NotModified):
        return False
    if answer.serial is not None and known.serial is not None:
        return answer.serial < known.serial
    theirs, ours = _instant(answer.last_modified), _instant(known.last_modified)
    return theirs is not None and ours is not None and theirs < ours


def _instant(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except ValueError:
        return None


def _same_origin(one: str, other: str) -> bool:
    try:
        return origin_of(one) == origin_of(other)
    except ValueError:
        return False
