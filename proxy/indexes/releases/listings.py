"""The files of a repository's releases: requested at most once a minute, and kept in records."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable
from functools import cached_property

import msgspec

from proxy.errors import UnreadablePage, UpstreamError
from proxy.indexes.releases.release_files import ReleaseFile, read_releases
from proxy.runtime import SingleFlight, run_in_worker
from proxy.storage import Key, RecordKind, Records
from proxy.upstream import ApiPage, ReleaseApi

log = logging.getLogger(__name__)

LISTING_LIFETIME = 60.0
"""Seconds for which a listing is current: an install asks for many projects."""
STORED_AGAIN = 600.0
"""Seconds after which an unchanged listing is stored again, with its new time."""
MAX_PARTS = 100
"""Parts of a list, of a hundred releases each; GitHub has no more."""


class ListedPart(msgspec.Struct, frozen=True):
    """A part of a list, with what it takes to revalidate it."""

    url: str
    etag: str | None
    following: str
    files: tuple[ReleaseFile, ...]


class RepositoryListing(msgspec.Struct, frozen=True, dict=True):
    """All distributions of a repository."""

    checked: float
    """Unix time in seconds at which the API confirmed it last."""
    parts: tuple[ListedPart, ...]

    @cached_property
    def files(self) -> tuple[ReleaseFile, ...]:
        return tuple(file for part in self.parts for file in part.files)


class Listings:
    """Of all repositories of an index."""

    def __init__(
        self,
        name: str,
        api: ReleaseApi,
        records: Records,
        namespace: str,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``namespace``: of the keys of records."""
        self._name = name
        self._api = api
        self._records = records
        self._namespace = namespace
        self._clock = clock
        self._known: dict[str, RepositoryListing] = {}
        self._stored: dict[str, float] = {}
        self._refused_until = 0.0
        self._flights: SingleFlight[str, RepositoryListing] = SingleFlight()

    async def current(self, repository: str) -> RepositoryListing:
        """At most a minute old. Raises ``UpstreamError``.

        While the API asks to wait, it is not asked.
        """
        known = await self.last_known(repository)
        now = self._clock()
        if known and 0 <= now - known.checked < LISTING_LIFETIME:
            return known
        if now < self._refused_until:
            wait = int(self._refused_until - now) + 1
            raise UpstreamError(self._name, "the API accepts no requests now", retry_after=wait)
        try:
            return await self._flights.do(repository, lambda: self._fetched(repository, known))
        except UpstreamError as error:
            self._refused_until = self._clock() + (error.retry_after or 0)
            raise

    async def last_known(self, repository: str) -> RepositoryListing | None:
        """The newest listing, however old."""
        if repository not in self._known:
            data = await self._records.get(self._key(repository))
            try:
                found = msgspec.msgpack.decode(data, type=RepositoryListing) if data else None
            except msgspec.MsgspecError:  # of another version of the program
                found = None
            if found and repository not in self._known:
                self._known[repository] = found
        return self._known.get(repository)

    async def close(self) -> None:
        await self._flights.close()

    async def _fetched(self, repository: str, known: RepositoryListing | None) -> RepositoryListing:
        before = {part.url: part for part in known.parts} if known else {}
        parts: list[ListedPart] = []
        url = self._api.first(repository)
        while url:
            if len(parts) == MAX_PARTS:
                log.warning("%s: %s has more releases than are read", self._name, repository)
                break
            parts.append(await self._part(url, before.get(url)))
            url = parts[-1].following
        listing = RepositoryListing(self._clock(), tuple(parts))
        self._known[repository] = listing
        await self._store(repository, listing, is_new=not known or known.parts != listing.parts)
        return listing

    async def _part(self, url: str, known: ListedPart | None) -> ListedPart:
        page = await self._api.page(url, known.etag if known else None)
        if page.body is None:
            assert known
            return known
        return ListedPart(url, page.etag, page.following, await self._read(page))

    async def _read(self, page: ApiPage) -> tuple[ReleaseFile, ...]:
        body, root = page.body or b"", self._api.root
        try:
            return tuple(await run_in_worker(len(body), lambda: read_releases(body, root)))
        except (ValueError, RecursionError):
            raise UnreadablePage(self._name, "its list of releases is not that of GitHub") from None

    async def _store(self, repository: str, listing: RepositoryListing, *, is_new: bool) -> None:
        if not is_new and listing.checked - self._stored.get(repository, 0.0) < STORED_AGAIN:
            return
        data = await asyncio.to_thread(msgspec.msgpack.encode, listing)
        await self._records.put(self._key(repository), data)
        self._stored[repository] = listing.checked

    def _key(self, repository: str) -> Key:
        return Key(RecordKind.RELEASES, self._namespace, repository.lower())
