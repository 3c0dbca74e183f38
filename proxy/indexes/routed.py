"""An index whose rules say, by project name, which other index answers."""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from typing import NamedTuple

from proxy.errors import Denied, NoSuchProject, ProxyError
from proxy.indexes.base import CheckFile, Index
from proxy.indexes.explanation import Explanation, Step
from proxy.model import Artifact, ProjectName, ProjectPage


class Route(NamedTuple):
    """One rule."""

    matches: Callable[[ProjectName], object]
    """Gives None for a project that the rule is not about."""
    target: Index | Callable[[ProjectName], ProxyError]
    """The index that answers, or makes the error that is the answer."""
    pattern: str
    """The rule's patterns, for people."""


class Routed:
    """The first rule that matches decides, for the page and for everything else of a project.

    Closed: without a rule there is no such project. The index of a rule answers alone, so a
    project that it does not have is not looked for with a later rule.
    """

    def __init__(self, name: str, routes: Sequence[Route]) -> None:
        self.name = name
        self.routes = tuple(routes)

    @property
    def indexes(self) -> Sequence[Index]:
        """Those that rules lead to, each once."""
        found = {id(each.target): each.target for each in self.routes}
        return [each for each in found.values() if not callable(each)]

    def rebuilt(self, replace: Callable[[Index], Index]) -> Routed:
        """The same rules, to other indexes, each made from one of these."""
        others = {id(index): replace(index) for index in self.indexes}
        targets = [others.get(id(each.target), each.target) for each in self.routes]
        rules = zip(self.routes, targets, strict=True)
        return Routed(self.name, [each._replace(target=target) for each, target in rules])

    async def projects(self) -> Set[ProjectName]:
        found: set[ProjectName] = set()
        for index in self.indexes:
            found |= {
                project
                for project in await index.projects()
                if (route := self.route(project)) and route.target is index
            }
        return found

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        return await self._index(project).page(project, checked_after)

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        return await self._index(project).file(project, filename, digest, check)

    async def explain(self, project: ProjectName) -> Explanation:
        route = self.route(project)
        step = Step(self.name, "routed", rule=route.pattern if route else "")
        try:
            found = await self._index(project).explain(project)
        except NoSuchProject as error:
            found = Explanation.of_error(self.name, "routed", error)
        except Denied as error:
            found = Explanation.without_page(
                self.name, "routed", "refused", error.reason, error.rule
            )
        return found.after([step])

    def route(self, project: ProjectName) -> Route | None:
        """The rule that decides about the project."""
        return next((each for each in self.routes if each.matches(project) is not None), None)

    def _index(self, project: ProjectName) -> Index:
        """Raises what the rule says, and ``NoSuchProject`` without a rule."""
        route = self.route(project)
        if route is None:
            raise NoSuchProject(project, f"no rule of index {self.name} is about it")
        if callable(route.target):
            raise route.target(project)
        return route.target


def deny(rule: str, reason: str) -> Callable[[ProjectName], ProxyError]:
    """The target of a rule that refuses its projects."""
    return lambda project: Denied(project, f"{project}: {reason}", rule)


def reserve(project: ProjectName) -> ProxyError:
    """The target of a rule that keeps its projects private: no upstream is asked."""
    return NoSuchProject(project, "the name is reserved for private projects")
