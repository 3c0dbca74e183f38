"""``/project/NAME/dependencies/``: what a project needs, what is below, and what needs it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from aiohttp import web

from proxy.face.descriptions import Descriptions
from proxy.face.need_tree import Branch, NeedTree
from proxy.face.needs import Need, fitting, needs_of
from proxy.face.project import project_of, to_normal_form
from proxy.face.project_view import ProjectView, view_of
from proxy.face.search_page import listing_badge
from proxy.face.shell import Place, Shell, visible
from proxy.model import ProjectName
from proxy.presentation import need_graph
from proxy.storage import Listing, SearchFile

MAX_LISTED = 900
"""Projects of one level whose listings are read."""
MAX_DIRECT = 60
"""Direct needs whose versions are looked up."""


class NeedRow(NamedTuple):
    need: Need
    fits: str
    """The newest version here that meets it; empty: none, or unknown."""
    listing: Listing | None
    """None: nothing is known here."""


class Level(NamedTuple):
    names: list[tuple[str, Listing | None]]
    """With None for projects of which nothing is known here."""


class Below(NamedTuple):
    """All that is below a project."""

    levels: Sequence[Level]
    picture: object
    """SVG, or None if there are too many projects for it."""

    @property
    def listings(self) -> list[Listing | None]:
        return [listing for level in self.levels for _, listing in level.names]

    @property
    def unknown(self) -> int:
        """Projects of which nothing is known here, so that what they need is unknown."""
        return sum(listing is None for listing in self.listings)

    @property
    def size(self) -> int:
        """Bytes of one file of each, as far as they are known."""
        return sum(listing.size for listing in self.listings if listing)


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
        view = await view_of(found, "", self._shell.around.clock()) if found.page else None
        direct, known = await self._direct(place, view)
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
            listing_badge=listing_badge,
            below=await self._below(place, project),
            tree=await self._tree(place, project),
            needed_by=[each for each in needed_by if is_visible(each[0])],
        )

    async def _below(self, place: Place, project: ProjectName) -> Below:
        found = await self._search.below(place.index.name, project, visible(place))
        title = f"Graph of what {project} needs, and what that needs"
        picture = need_graph(title, [[project], *found.levels], found.edges)
        return Below([Level(await self._listed(place, names)) for names in found.levels], picture)

    async def _tree(self, place: Place, project: ProjectName) -> Sequence[Branch]:
        """The branches that the address opens, and one level below them."""
        opened = place.request.query.get("open", "").split(",")
        is_visible = visible(place)

        async def needs(name: str) -> list[str]:
            return await self._search.needs(place.index.name, name) if is_visible(name) else []

        return await NeedTree(needs, opened).below(project)

    async def _direct(
        self, place: Place, view: ProjectView | None
    ) -> tuple[dict[str, list[NeedRow]], bool]:
        """The needs by extra, and whether the metadata of the version are known."""
        if view is None:
            return {}, False
        description = await self._descriptions.of(place.index, view, fetch=view.private)
        if description is None:
            return {}, False
        needs = needs_of(description.requires)
        listings = dict(await self._listed(place, [need.project or "" for need in needs]))
        groups: dict[str, list[NeedRow]] = {}
        for number, need in enumerate(needs):
            listing = listings.get(need.project or "")
            fits = ""
            if listing and need.project and number < MAX_DIRECT:
                fits = fitting(need, await self._versions(place, need.project))
            groups.setdefault(need.extra, []).append(NeedRow(need, fits, listing))
        return groups, True

    async def _versions(self, place: Place, project: ProjectName) -> list[str]:
        """Those that installers see, the one that they choose first."""
        found = await place.index.explain(project)
        if not found.page:
            return []
        view = await view_of(found, "", self._shell.around.clock())
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
