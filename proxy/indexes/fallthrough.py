"""Several indexes as one: the first that has the project answers for it, alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set

from proxy.errors import NoSuchProject
from proxy.indexes.base import CheckFile, Index
from proxy.indexes.explanation import Explanation, Step
from proxy.indexes.merged import Merged
from proxy.model import Artifact, ProjectName, ProjectPage


class Fallthrough:
    """Asks its indexes in order. Their answers are merged for the projects of ``merges`` alone.

    Only ``NoSuchProject`` lets the next one be asked. Everything else stops: a private index
    that is down must never hand its names to a public one, and a file that the first index
    does not have is not looked for in another.
    """

    def __init__(
        self,
        name: str,
        indexes: Sequence[Index],
        merges: Callable[[ProjectName], object] | None = None,
    ) -> None:
        """``merges``: for which projects all indexes answer together, see ``Merged``."""
        self.name = name
        self.indexes = tuple(indexes)
        self._merges = merges
        self._merged = Merged(name, indexes)

    def rebuilt(self, replace: Callable[[Index], Index]) -> Fallthrough:
        """The same of other indexes, each made from one of these."""
        return Fallthrough(self.name, [replace(index) for index in self.indexes], self._merges)

    async def projects(self) -> Set[ProjectName]:
        found: set[ProjectName] = set()
        for index in self.indexes:
            found |= await index.projects()
        return found

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        if self._merges and self._merges(project):
            return await self._merged.page(project, checked_after)
        absent: NoSuchProject | None = None
        for index in self.indexes:
            try:
                return await index.page(project, checked_after)
            except NoSuchProject as missing:
                absent = missing
        raise absent or NoSuchProject(project)

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        if self._merges and self._merges(project):
            return await self._merged.file(project, filename, digest, check)
        absent: NoSuchProject | None = None
        for index in self.indexes:
            try:
                return await index.file(project, filename, digest, check)
            except NoSuchProject as missing:
                absent = missing
        raise absent or NoSuchProject(project)

    async def explain(self, project: ProjectName) -> Explanation:
        if self._merges and self._merges(project):
            return await self._merged.explain(project)
        steps = [Step(self.name, "fallthrough")]
        for index in self.indexes:
            found = await index.explain(project)
            if found.result != "absent":
                return found.after(steps)
            steps += found.steps
        return Explanation(steps=tuple(steps))
