"""Packages in an object store as an index: pages from the fold of the log, files from objects."""

from __future__ import annotations

from collections.abc import Set

from proxy.errors import IndexUnavailable, NoSuchFile, NoSuchProject
from proxy.events import FileAnswered, Observer, Outcome, PageAnswered, PageChanged
from proxy.indexes import CheckFile, Explanation, page_of_files
from proxy.model import Artifact, Blob, File, ProjectName, ProjectPage, with_distributions
from proxy.publish.objects.folded import PublishedProject
from proxy.publish.objects.object_files import ObjectFiles, OpenBlob
from proxy.publish.objects.object_log import ObjectLog
from proxy.storage import Claims

MAX_ABSENCE_AGE = 300.0
"""Seconds since the last look during which a name that is not here counts as absent. Later it may
have become private through another process, and must not be asked for elsewhere."""
_MAX_SINGLE_EVENTS = 1000
"""Changed projects that are announced one by one; more are announced by one event for all."""


class ObjectIndex:
    """Lists what the log says. A page is valid until ``PageChanged``.

    If the store does not answer, pages are those of the last known changes. A name that was ever
    changed stays private. Before the log was read, every method raises ``IndexUnavailable``.
    """

    def __init__(
        self,
        name: str,
        url: str,
        log: ObjectLog,
        open_blob: OpenBlob,
        events: Observer,
        *,
        claims: Claims | None = None,
        extra_files: bool = False,
    ) -> None:
        """``url``: of the store, below which the objects are. ``claims``: those of the cache.
        ``extra_files``: list signatures and other files beside distributions."""
        self.name = name
        self.root = url
        self.is_there = True
        self.log = log
        self.files = ObjectFiles(name, url, log, open_blob, extra_files=extra_files)
        self._events = events
        self._claims = claims or Claims()
        self._claims.served.add(url)
        self._pages: dict[ProjectName, ProjectPage] = {}

    def announce(self, changed: Set[ProjectName]) -> None:
        """Take note of changes of projects. For the log."""
        self._claims.add(self.root, changed)
        for project in changed:
            self._pages.pop(project, None)
        every = len(changed) > _MAX_SINGLE_EVENTS
        for each in [None] if every else changed:
            self._events(PageChanged(each))

    def poll(self) -> None:
        """As for a directory; changes are announced when they are read."""

    async def release(self, project: ProjectName) -> None:
        """As for a directory, which keeps the names of files and folders: all are kept here."""
        if project in self.log.state.published:
            self._claims.add(self.root, [project])
            await self._claims.save()
        self._events(PageChanged(project))

    async def projects(self) -> Set[ProjectName]:
        await self.log.look()
        self._require_loaded()
        return set(self.log.state.published)

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        """``checked_after`` has no effect: each answer is checked when it is made."""
        found = await self._page(project)
        self._events(PageAnswered(project, self.name, Outcome.LOCAL))
        return found

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        page, file = await self._listed(project, filename, digest)
        if check:
            await check(page)
        blob = await self._blob(page, filename)
        self._events(FileAnswered(project, filename, self.name, Outcome.LOCAL))
        return Artifact(file, blob)

    def held(self, project: ProjectName) -> list[File]:
        """The files of the project, also while it is quarantined."""
        found = self.log.state.published.get(project)
        return [self.files.file_of(file) for file in found.files.values()] if found else []

    async def explain(self, project: ProjectName) -> Explanation:
        try:
            page = await self._page(project)
        except (NoSuchProject, IndexUnavailable) as error:
            return Explanation.of_error(self.name, "local", error)
        return Explanation.of_page(self.name, "local", page)

    async def _listed(
        self, project: ProjectName, filename: str, digest: str | None
    ) -> tuple[ProjectPage, File]:
        """The file and the page that lists it. Another machine may have shown a newer page to the
        client, so a file that is unknown here is looked for in the log."""
        page = await self._page(project)
        try:
            return page, page.file(filename, digest)
        except NoSuchFile:
            await self.log.catch_up()
        page = await self._page(project)
        return page, page.file(filename, digest)

    async def _blob(self, page: ProjectPage, filename: str) -> Blob:
        """Raises ``NoSuchFile`` if the file has just been taken away."""
        files = self.log.state.published[page.project].files
        for name in with_distributions(filename):
            if owner := files.get(name):
                return await self.files.blob_of(owner, filename.removeprefix(name))
        raise NoSuchFile(page.project, filename, "it has just been deleted")

    async def _page(self, project: ProjectName) -> ProjectPage:
        await self.log.look()
        if (known := self._pages.get(project)) is not None:
            return known
        self._require_loaded()
        found = self.log.state.published.get(project)
        if found is None:
            self._require_recent()
            raise NoSuchProject(project)
        page = self._pages[project] = self._build(project, found)
        return page

    def _build(self, project: ProjectName, found: PublishedProject) -> ProjectPage:
        files = found.files.values()
        listed = [(file.change.version, self.files.file_of(file)) for file in files]
        return page_of_files(project, self.name, listed, None, found.status)

    def _require_loaded(self) -> None:
        if not self.log.is_loaded:
            reason = "its object store has not answered so far"
            raise IndexUnavailable(self.name, reason)

    def _require_recent(self) -> None:
        """Whether a name is still not private is uncertain if the store was silent for long."""
        if self.log.clock() - self.log.looked > MAX_ABSENCE_AGE:
            reason = "its object store does not answer, so that new private names are unknown"
            raise IndexUnavailable(self.name, reason)
