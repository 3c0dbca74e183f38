"""``/project/NAME/dependencies/``: what a project needs, what is below, and what needs it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from aiohttp import web

from proxy.face.descriptions import Descriptions
from proxy.face.needs import Need, fitting, needs_of
from proxy.face.project import project_of, to_normal_form
from proxy.face.project_view import ProjectView
from proxy.face.search_page import KIND_NAMES
from proxy.face.shell import Place, Shell
from proxy.model import ProjectName
from proxy.storage import Listing, SearchFile
from proxy.web import visible_projects

MAX_LISTED = 900
"""Projects of one level whose listings are read."""
MAX_DIRECT = 60
"""Direct needs whose versions are looked up."""


class NeedRow(NamedTuple):
    need: Need
    fits: str
    """The newest version here that meets it; empty: none, or unknown."""
    kind: str
    """private, held or upstream only; empty: nothing is known here."""


class Level(NamedTuple):
    names: list[tuple[str, Listing | None]]
    """With None for projects of which nothing is known here."""


class DependencyPages:
    def __init__(self, shell: Shell, search: SearchFile, descriptions: Descriptions) -> None:
        self._shell = shell
        self._search = search
        self._descriptions = descriptions

    async def page(self, place: Place) -> web.Response:
        if elsewhere := to_normal_form(place):
            return elsewhere
        project = project_of(place)
        found = await place.index.explain(project)
        view = ProjectView(found, "", self._shell.around.clock()) if found.page else None
        direct, known = await self._direct(place, view)
        below = [
            Level(await self._listed(place, names))
            for names in await self._search.below(place.index.name, project)
        ]
        needed_by = await self._search.needed_by(place.index.name, project)
        is_visible = visible(place)
        return self._shell.page(
            place,
            "dependencies.html",
            private=True,
            project=project,
            version=view.version if view else "",
            direct=direct,
            known=known,
            below=below,
            total=sum(len(level.names) for level in below),
            missing=sum(listing is None for level in below for _, listing in level.names),
            needed_by=[each for each in needed_by if is_visible(each[0])],
        )

    async def _direct(
        self, place: Place, view: ProjectView | None
    ) -> tuple[dict[str, list[NeedRow]], bool]:
        """The needs by extra, and whether the metadata of the version are known."""
        if view is None:
            return {}, False
        rows = view.files()
        description = await self._descriptions.of(
            place.index,
            view.project,
            [row.file for row in rows if row.shown],
            [row.file.filename for row in rows if row.held],
            fetch=view.private,
        )
        if description is None:
            return {}, False
        needs = needs_of(description.requires)
        names = [need.project for need in needs if need.project]
        listings = dict(await self._listed(place, names))
        groups: dict[str, list[NeedRow]] = {}
        for number, need in enumerate(needs):
            listing = listings.get(need.project or "")
            fits = ""
            if listing and need.project and number < MAX_DIRECT:
                fits = fitting(need, await self._versions(place, need.project))
            kind = KIND_NAMES[listing.kind] if listing else ""
            groups.setdefault(need.extra, []).append(NeedRow(need, fits, kind))
        return groups, True

    async def _versions(self, place: Place, project: ProjectName) -> list[str]:
        """Those that installers see, the one that they choose first."""
        found = await place.index.explain(project)
        if not found.page:
            return []
        view = ProjectView(found, "", self._shell.around.clock())
        others = [
            row.release.version
            for row in view.versions()
            if row.hidden < len(row.release.files) and not row.release.yanked
        ]
        return [view.latest, *others]

    async def _listed(self, place: Place, names: Iterable[str]) -> list[tuple[str, Listing | None]]:
        wanted = list(names)
        listings = await self._search.some(place.index.name, wanted[:MAX_LISTED])
        is_visible = visible(place)
        return [(name, listings.get(name) if is_visible(name) else None) for name in wanted]


def visible(place: Place) -> Callable[[str], bool]:
    """Whether the principal may see that name."""
    test = visible_projects(place.request, place.index.name)
    return lambda name: test is None or test(ProjectName(name))
