"""An index out of a dictionary, for what composes indexes: it notes what it is asked."""

from __future__ import annotations

from collections.abc import Set

from proxy.errors import NoSuchProject, ProxyError
from proxy.model import Artifact, File, ProjectName, ProjectPage
from proxy.storage.disk_store import BytesBlob


class FakeIndex:
    """Every file holds its own name; ``error``, if set, is raised at every question."""

    def __init__(self, name: str, projects: dict[str, list[str]]) -> None:
        self.name = name
        self.error: ProxyError | None = None
        self.asked: list[str] = []
        self._projects = projects

    async def projects(self) -> Set[ProjectName]:
        return {ProjectName(name) for name in self._projects}

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        self.asked.append(project)
        if self.error:
            raise self.error
        if project not in self._projects:
            raise NoSuchProject(project)
        files = tuple(File(each, f"https://example.com/{each}") for each in self._projects[project])
        return ProjectPage(project, files, source=self.name, version="1")

    async def file(
        self, project: ProjectName, filename: str, digest: str | None = None
    ) -> Artifact:
        page = await self.page(project)
        return Artifact(page.file(filename, digest), BytesBlob(filename.encode()))
