"""The start page: search, state, commands, figures, private projects, changes upstream."""

from __future__ import annotations

from aiohttp import web

from proxy.access import Scope
from proxy.face.activity import ActivityPages
from proxy.face.indexer import Indexer
from proxy.face.recent import Recent
from proxy.face.search_page import FILTERS
from proxy.face.shell import Place, Shell, sees_all, visible
from proxy.face.snippets import Address
from proxy.storage import PRIVATE, SearchFile
from proxy.web import may

LISTED = 20
CHANGES = 10
MAX_READ = 1000
"""Projects that are read to find those that a principal with few rights may see."""
TROUBLE = 600.0
"""Seconds for which a failure of an upstream is a part of the state."""


class HomePage:
    def __init__(
        self,
        shell: Shell,
        search: SearchFile,
        indexer: Indexer,
        activity: ActivityPages,
        recent: Recent,
    ) -> None:
        self._shell = shell
        self._search = search
        self._indexer = indexer
        self._activity = activity
        self._recent = recent

    async def page(self, place: Place) -> web.Response:
        await self._indexer.catch_up()
        name, is_visible = place.index.name, visible(place)
        limit = LISTED if sees_all(place) else MAX_READ
        private = await self._search.of_kind(name, PRIVATE, limit)
        changes = await self._search.last_changed(name, limit)
        projects = [each for each in private if is_visible(each.name)]
        at = Address(self._shell.index_address(place))
        tool = "uv" if place.request.query.get("tool") == "uv" else "pip"
        shows = may(place.request, Scope.METRICS)
        return self._shell.page(
            place,
            "home.html",
            private=True,
            section="home",
            tool=tool,
            commands={
                "pip": f"pip install --index-url {at.url}{at.trust} NAME",
                "uv": f"uv pip install --index-url {at.url} NAME",
            },
            filters=FILTERS,
            cards=await self._activity.last_day() if shows else [],
            trouble=await self._trouble(place) if shows else None,
            projects=projects[:LISTED],
            count=await self._count(place, len(projects)),
            changes=[each for each in changes if is_visible(each.name)][:CHANGES],
        )

    async def _count(self, place: Place, visible_ones: int) -> int:
        """How many private projects there are for the principal."""
        if not sees_all(place):
            return visible_ones
        return await self._search.count(place.index.name, PRIVATE)

    async def _trouble(self, place: Place) -> tuple[float, str] | None:
        """The last failure of an upstream, if it is not long ago."""
        happenings, _ = await self._recent.all()
        last = next((each for each in happenings if each.kind == "failed"), None)
        if last is None or self._shell.around.clock() - last.at > TROUBLE:
            return None
        return last.at, last.text if sees_all(place) else ""
