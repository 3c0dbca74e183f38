"""A mirror: an upstream index with a cache of its pages and files."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence, Set
from typing import Protocol

import msgspec

from proxy.errors import Denied, NoSuchFile, NotFound, UpstreamError
from proxy.events import Observer, Outcome, PageAnswered, PageChanged
from proxy.indexes.base import CheckFile
from proxy.indexes.explanation import Explanation
from proxy.indexes.mirror.mirrored_files import MirrorFiles
from proxy.indexes.mirror.mirrored_siblings import MirrorSiblings
from proxy.indexes.mirror.page_cache import LoadedPage, PageCache
from proxy.indexes.mirror.project_documents import ProjectDocuments
from proxy.indexes.mirror.upstream_list import UpstreamList
from proxy.model import (
    METADATA,
    PROVENANCE,
    Artifact,
    File,
    ProjectName,
    ProjectPage,
    distribution_of,
)
from proxy.storage import NameList
from proxy.upstream import RunningDownload


class PageSource(Protocol):
    """The pages of a mirror: ``MirrorPages`` or ``OfflinePages``."""

    @property
    def final(self) -> bool:
        """Whether stored pages are never revalidated."""

    async def page(
        self, project: ProjectName, checked_after: float = 0.0
    ) -> tuple[ProjectPage, Outcome]: ...

    async def renewed(self, project: ProjectName, since: float) -> tuple[ProjectPage, Outcome]: ...

    def recheck(self, project: ProjectName) -> None: ...

    def absence(self, project: ProjectName) -> str: ...

    def forget(self, project: ProjectName | None) -> None: ...

    async def close(self) -> None: ...


class Mirror:
    """An index that answers for an upstream, also while that is slow, down or lying."""

    def __init__(
        self,
        name: str,
        pages: PageSource,
        memory: PageCache,
        files: MirrorFiles,
        siblings: MirrorSiblings,
        documents: ProjectDocuments,
        events: Observer,
        clock: Callable[[], float] = time.time,
        *,
        refuses_vanished: bool = False,
        redirects: bool = False,
        upstream_list: UpstreamList | None = None,
    ) -> None:
        """``refuses_vanished``: stored files that upstream no longer lists are refused.
        ``redirects``: as in ``MirrorOptions``. ``upstream_list``: where it is shown.
        """
        self.name = name
        self._pages = pages
        self._memory = memory
        self._files = files
        self._siblings = siblings
        self.documents = documents
        self._events = events
        self._clock = clock
        self._refuses_vanished = refuses_vanished
        self._redirects = redirects
        self._upstream_list = upstream_list

    async def projects(self) -> Set[ProjectName]:
        """Those with a stored page: upstream's own list is huge and often outdated."""
        return await self._memory.projects()

    async def upstream_names(self) -> NameList | None:
        """All projects that upstream lists, where that is to be shown, and known."""
        return await self._upstream_list.names() if self._upstream_list else None

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        page, outcome = await self._pages.page(project, checked_after)
        self._events(PageAnswered(project, self.name, outcome))
        return page

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        wanted = None if digest == "-" else digest
        asked = self._clock()
        try:
            page = await self._listing(project, filename, wanted)
            return await self._artifact(page, filename, wanted, asked, check)
        except (NotFound, UpstreamError):
            await self._refuse_quarantined(project, filename)
            if wanted is None:
                raise
            artifact = await self._once_listed(project, filename, wanted, check)
            if artifact is None:
                raise
            return artifact

    async def explain(self, project: ProjectName) -> Explanation:
        if absence := self._pages.absence(project):
            return Explanation.without_page(self.name, "mirror", "absent", absence)
        known = self._memory.get(project) or await self._memory.load(project)
        if known is None:
            detail = "no page is in the cache, and upstream is not asked for an explanation"
            return Explanation.without_page(self.name, "mirror", "unknown", detail)
        stored = await self._files.stored_names(known.page)
        return Explanation.of_page(self.name, "mirror", known.page, stored)

    def running_downloads(self) -> Sequence[RunningDownload]:
        """The files that are arriving now."""
        return self._files.downloads.running()

    async def page_stored(self, project: ProjectName) -> None:
        """Wait until what was fetched of the project's page is stored."""
        await self._memory.wait_stored(project)

    def forget(self, project: ProjectName | None = None) -> None:
        """Drop from memory one project, or all, after the cache was purged."""
        self._pages.forget(project)
        self.documents.forget(project)
        if project is None:
            self._memory.drop_all()
        else:
            self._memory.drop(project)
        self._events(PageChanged(project))

    def doubt_pages(self) -> None:
        """Ask the store, or upstream, before pages in memory are answered again."""
        self._pages.forget(None)
        self._memory.age_all(self._clock())
        self._events(PageChanged(None))

    async def close(self, grace: float = 0.0) -> None:
        """Running downloads get ``grace`` seconds to finish."""
        await self._siblings.close()  # siblings start downloads, which load pages, which are stored
        await self._files.close(grace)
        if self._upstream_list:
            await self._upstream_list.close()
        await self.documents.close()
        await self._pages.close()
        await self._memory.close()

    async def _listing(
        self, project: ProjectName, filename: str, digest: str | None
    ) -> ProjectPage:
        """A page that lists the file, else the newest.

        With a digest any stored page will do, however old: the digest says which bytes are meant.
        """
        if digest is not None or self._pages.final:
            known = self._memory.get(project)
            if not _lists(known, filename, digest):
                known = await self._memory.load(project)  # another process may know more
            if known and _lists(known, filename, digest):
                return known.page
        page, _ = await self._pages.page(project)
        return page

    async def _once_listed(
        self, project: ProjectName, filename: str, digest: str, check: CheckFile | None
    ) -> Artifact | None:
        """A stored file that the page does not list, or not with this digest, any more."""
        found = await self._files.once_listed(project, filename, digest)
        if found is None:
            return None
        if check:
            page = _page_of_one(project, found.file, digest)
            await check(msgspec.structs.replace(page, source=self.name))
        if self._refuses_vanished:
            reason = f"{filename} is no longer listed upstream"
            raise Denied(project, reason, "vanished", filename)
        self._files.use(project, found)
        return found

    async def _artifact(
        self,
        page: ProjectPage,
        filename: str,
        digest: str | None,
        asked: float,
        check: CheckFile | None,
    ) -> Artifact:
        project, file = page.project, page.file(filename, digest)
        if check:
            await check(page)
        if self._redirects:
            owner = page.file(distribution_of(filename), digest)
            return await self._files.redirected(project, file, owner.address_digest, asked)
        for suffix in (METADATA, PROVENANCE):
            if filename.endswith(suffix):
                owner = page.file(filename.removesuffix(suffix), digest)
                if suffix is PROVENANCE:
                    return await self._siblings.provenance(
                        project, file, owner.address_digest, asked
                    )
                return await self._siblings.metadata(
                    project, owner, file, owner.address_digest, asked
                )
        if beside := page.owner_of_extra(filename):
            return await self._siblings.extra_file(project, file, beside.address_digest, asked)
        return await self._files.artifact(project, file, file.address_digest, asked)

    async def _refuse_quarantined(self, project: ProjectName, filename: str) -> None:
        """Files of a quarantined project (PEP 792) are not served, stored or not.

        Raises ``Denied``.
        """
        known = self._memory.get(project) or await self._memory.load(project)
        status = known.page.status if known else None
        if status is not None and status.status == "quarantined":
            reason = f"{project} is quarantined" + (f" ({status.reason})" if status.reason else "")
            raise Denied(project, reason, "quarantined", filename)


def _page_of_one(project: ProjectName, file: File, digest: str) -> ProjectPage:
    """A page of the distribution that the digest names, for a file or the sibling of one."""
    owner = distribution_of(file.filename)
    if owner != file.filename:
        algorithm, _, value = digest.rpartition("-")
        hashes = {algorithm or "sha256": value}
        metadata = file.hashes if file.filename.endswith(METADATA) else False
        file = File(owner, "", hashes, uploaded=file.uploaded, metadata=metadata)
    return ProjectPage(project, (file,))


def _lists(known: LoadedPage | None, filename: str, digest: str | None) -> bool:
    try:
        return known is not None and bool(known.page.file(filename, digest))
    except NoSuchFile:
        return False
