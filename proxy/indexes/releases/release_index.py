"""The releases of repositories as an upstream index: pages are made here, files come as they are.

A mirror does the rest: it caches pages and files, and checks digests.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from proxy.errors import NoSuchProject, UpstreamError
from proxy.indexes.releases.listings import LISTING_LIFETIME, Listings, RepositoryListing
from proxy.indexes.releases.release_files import PAGE_TYPE, ReleaseFile, first_published, page_of
from proxy.model import METADATA, ProjectName
from proxy.storage import CachedFiles
from proxy.upstream import (
    Body,
    NotModified,
    ProjectListAnswer,
    Remote,
    UpstreamDocument,
    Validators,
)

STALE_LISTING = 3600.0
"""Seconds for which a listing answers for projects of which no page is stored, while the API
fails: a limit of requests is over after an hour."""


class ReleaseRules(msgspec.Struct, frozen=True, kw_only=True):
    """Which files an index has, and at which of their addresses."""

    repositories: tuple[str, ...]
    """Of a project that several have, the first one counts."""
    has: Callable[[ProjectName], bool]
    """Whether a project may come from there."""
    prereleases: bool
    drafts: bool
    with_token: bool
    """The API gets a token: files have their addresses there."""
    with_metadata: bool
    """Metadata are read from stored wheels."""

    def admit(self, file: ReleaseFile) -> bool:
        wanted = (self.drafts or not file.draft) and (self.prereleases or not file.prerelease)
        return wanted and self.has(file.project)


class ReleaseIndex:
    """A ``RemoteIndex``."""

    def __init__(
        self,
        listings: Listings,
        files: Remote,
        cached: CachedFiles,
        rules: ReleaseRules,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """``files`` fetches them; ``cached`` knows those that were fetched before."""
        self.name = files.name
        self._listings = listings
        self._files = files
        self._cached = cached
        self._rules = rules
        self._clock = clock

    def allows(self, origin: str) -> bool:
        return self._files.allows(origin)

    async def page(
        self, project: ProjectName, validators: Validators | None = None
    ) -> UpstreamDocument | NotModified:
        """With validators there is a stored page, which is answered if the API fails; without
        them an old listing is better than none."""
        if not self._rules.has(project):
            raise NoSuchProject(project, f"{self.name} is not asked for it")
        listings = await self._all_listings(allow_stale=validators is None)
        files = next(filter(None, (self._of(project, each) for each in listings)), None)
        if files is None:
            raise NoSuchProject(project)
        body = page_of(
            project,
            [await self._pinned(file) for file in files],
            with_token=self._rules.with_token,
            with_metadata=self._rules.with_metadata,
        )
        etag = f'"{hashlib.sha256(body).hexdigest()}"'
        if validators and validators.etag == etag:
            return NotModified(None, False, etag, None, None)
        is_stale = any(self._age(each) > LISTING_LIFETIME for each in listings)
        return UpstreamDocument(
            body,
            PAGE_TYPE,
            self._files.url,
            lifetime=0.0 if is_stale else None,
            must_revalidate=False,
            storable=True,
            etag=etag,
            last_modified=None,
            serial=None,
        )

    @asynccontextmanager
    async def project_list(
        self, validators: Validators | None
    ) -> AsyncIterator[ProjectListAnswer | None]:
        """Every project of which there is a file."""
        listings = await self._all_listings(allow_stale=False)
        files = (file for each in listings for file in each.files)
        names = sorted({file.project for file in files if self._rules.admit(file)})
        body = msgspec.json.encode({"projects": [{"name": name} for name in names]})
        yield ProjectListAnswer(_once(body), PAGE_TYPE, None, None, None)

    async def project_document(self, project: ProjectName, version: str = "") -> bytes | None:
        return None

    async def size(self, url: str) -> int | None:
        return await self._files.size(url)

    async def read(self, url: str, limit: int) -> bytes:
        if url.endswith(METADATA):  # it is read from the wheel: see ``MirrorSiblings``
            raise UpstreamError(self.name, "releases have no metadata beside their wheels")
        return await self._files.read(url, limit)

    def open(
        self, url: str, *, start: int = 0, etag: str | None = None
    ) -> AbstractAsyncContextManager[Body]:
        return self._files.open(url, start=start, etag=etag)

    async def _all_listings(self, *, allow_stale: bool) -> Sequence[RepositoryListing]:
        """In the order of the repositories. Raises ``UpstreamError`` if one is missing: it may be
        the one that has the project."""
        asked = (self._listing(each, allow_stale=allow_stale) for each in self._rules.repositories)
        return await asyncio.gather(*asked)

    async def _listing(self, repository: str, *, allow_stale: bool) -> RepositoryListing:
        try:
            return await self._listings.current(repository)
        except UpstreamError:
            known = await self._listings.last_known(repository)
            if not allow_stale or known is None or self._age(known) >= STALE_LISTING:
                raise
            return known

    def _of(self, project: ProjectName, listing: RepositoryListing) -> list[ReleaseFile]:
        files = (file for file in listing.files if file.project == project)
        return first_published(file for file in files if self._rules.admit(file))

    async def _pinned(self, file: ReleaseFile) -> ReleaseFile:
        """With the digest of the bytes that came first, where the API does not say one."""
        if file.digest:
            return file
        record = await self._cached.get(file.project, "-", file.filename)
        if record is None:
            return file
        digest = f"sha256:{record.sha256}"
        return msgspec.structs.replace(file, digest=digest, size=record.size)

    def _age(self, listing: RepositoryListing) -> float:
        return abs(self._clock() - listing.checked)


async def _once(data: bytes) -> AsyncIterator[bytes]:
    yield data
