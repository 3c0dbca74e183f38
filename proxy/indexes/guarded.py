"""An index seen through policies."""

from __future__ import annotations

from collections.abc import Sequence, Set

from proxy.errors import Denied, IndexUnavailable, NoSuchProject
from proxy.indexes.base import Index
from proxy.model import Artifact, File, ProjectName, ProjectPage
from proxy.policies import Policy


class Guarded:
    """Shows what every policy allows; the index behind is not asked about the rest.

    Stands outside of the cache, which keeps the whole truth: a changed policy acts at once.
    """

    def __init__(self, index: Index, policies: Sequence[Policy]) -> None:
        self.index = index
        self.policies = tuple(policies)
        self._judges = tuple(policy for policy in self.policies if policy.judges_files)

    @property
    def name(self) -> str:
        return self.index.name

    async def projects(self) -> Set[ProjectName]:
        return {project for project in await self.index.projects() if self._admits(project)}

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        self._admit(project)
        page = await self.index.page(project, checked_after)
        return page.keep(lambda file: self._allows(project, file)) if self._judges else page

    async def file(
        self, project: ProjectName, filename: str, digest: str | None = None
    ) -> Artifact:
        self._admit(project)
        artifact = await self.index.file(project, filename, digest)
        if not self._allows(project, artifact.file):
            raise Denied(project, f"a policy refuses {filename}")
        return artifact

    def _admit(self, project: ProjectName) -> None:
        for policy in self.policies:
            policy.admit(project)

    def _admits(self, project: ProjectName) -> bool:
        try:
            self._admit(project)
        except (NoSuchProject, Denied, IndexUnavailable):
            return False
        return True

    def _allows(self, project: ProjectName, file: File) -> bool:
        return all(policy.allows(project, file) for policy in self._judges)
