"""An index that records the requests of a resolver: what it read has to be available again."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from proxy.errors import NotFound, ProxyError
from proxy.indexes import CheckFile, Explanation, Index
from proxy.model import METADATA, Artifact, File, ProjectName, ProjectPage


@dataclass(frozen=True, slots=True)
class RequestedFile:
    project: ProjectName
    filename: str
    digest: str
    """As in the address of the request; ``-`` if it has none."""


@dataclass(slots=True)
class RecordingIndex:
    """Answers as ``index`` does and records each request with its result."""

    index: Index
    pages: dict[ProjectName, ProjectPage] = field(default_factory=dict)
    files: dict[RequestedFile, File] = field(default_factory=dict)
    missing_pages: set[ProjectName] = field(default_factory=set)
    """Requested projects that do not exist."""
    errors: dict[ProjectName, str] = field(default_factory=dict)
    """Requested projects whose page could not be read, with the reason."""
    _failed_files: set[RequestedFile] = field(default_factory=set)
    _paused: bool = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While entered, requests are answered and not recorded."""
        self._paused = True
        try:
            yield
        finally:
            self._paused = False

    @property
    def name(self) -> str:
        return self.index.name

    async def projects(self) -> Set[ProjectName]:
        return await self.index.projects()

    async def explain(self, project: ProjectName) -> Explanation:
        return await self.index.explain(project)

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        if self._paused:
            return await self.index.page(project, checked_after)
        try:
            page = await self.index.page(project, checked_after)
        except NotFound:
            self.missing_pages.add(project)
            raise
        except ProxyError as error:
            self.errors[project] = str(error)
            raise
        self.pages[project] = page
        return page

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        if self._paused:
            return await self.index.file(project, filename, digest, check)
        requested = RequestedFile(project, filename, digest or "-")
        try:
            artifact = await self.index.file(project, filename, digest, check)
        except ProxyError:
            self._failed_files.add(requested)
            raise
        self.files[requested] = artifact.file
        return artifact

    def missing_files(self) -> set[RequestedFile]:
        """Requested files that are not available.

        A wheel that was requested only because its ``.metadata`` is missing does not count.
        """
        failed = {(each.project, each.filename) for each in self._failed_files}
        return {
            each
            for each in self._failed_files
            if (each.project, each.filename + METADATA) not in failed
        }
