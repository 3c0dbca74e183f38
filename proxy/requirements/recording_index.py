"""An index that notes what it is asked for, so that what a resolver touched can be had again."""

from __future__ import annotations

from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass, field

from proxy.errors import NotFound, ProxyError
from proxy.indexes import CheckFile, Index
from proxy.model import METADATA, Artifact, File, ProjectName, ProjectPage


@dataclass(frozen=True, slots=True)
class RequestedFile:
    """A file that was asked for."""

    project: ProjectName
    filename: str
    digest: str
    """As in the address."""


@dataclass(slots=True)
class RecordingIndex:
    """Answers as ``index`` does, and notes."""

    index: Index
    pages: dict[ProjectName, ProjectPage] = field(default_factory=dict)
    files: dict[RequestedFile, File] = field(default_factory=dict)
    missed_pages: set[ProjectName] = field(default_factory=set)
    """Projects that were asked for and are not there."""
    troubles: dict[ProjectName, str] = field(default_factory=dict)
    """Why nobody knows whether these projects are there."""
    _missed: set[RequestedFile] = field(default_factory=set)
    _looks_away: bool = False

    @contextmanager
    def paused(self) -> Iterator[None]:
        """While entered nothing is noted: what is asked for is only tried."""
        self._looks_away = True
        try:
            yield
        finally:
            self._looks_away = False

    @property
    def name(self) -> str:
        return self.index.name

    async def projects(self) -> Set[ProjectName]:
        return await self.index.projects()

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        if self._looks_away:
            return await self.index.page(project, checked_after)
        try:
            page = await self.index.page(project, checked_after)
        except NotFound:
            self.missed_pages.add(project)
            raise
        except ProxyError as error:
            self.troubles[project] = str(error)
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
        if self._looks_away:
            return await self.index.file(project, filename, digest, check)
        asked = RequestedFile(project, filename, digest or "-")
        try:
            artifact = await self.index.file(project, filename, digest, check)
        except ProxyError:
            self._missed.add(asked)
            raise
        self.files[asked] = artifact.file
        return artifact

    def missed_files(self) -> set[RequestedFile]:
        """Files that were asked for and are not there.

        A wheel that was only tried because its ``.metadata`` is not there does not count.
        """
        beside = {(each.project, each.filename) for each in self._missed}
        return {
            each for each in self._missed if (each.project, each.filename + METADATA) not in beside
        }
