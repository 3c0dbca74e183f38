"""``/search/``: private, cached and known projects; nothing that is typed leaves this server."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from aiohttp import web

from proxy.face.indexer import Indexer
from proxy.face.shell import Place, Shell, part_of, visible
from proxy.indexes import names_containing
from proxy.model import normalize
from proxy.storage import HELD, KNOWN, PRIVATE, Listing, SearchBusy, SearchFile, SearchResult

MAX_QUERY = 100
"""Characters."""
ON_PAGE = 20
MAX_UPSTREAM = 500
FILTERS = (
    ("", "everywhere"),
    ("private", "private"),
    ("held", "in the cache"),
    ("upstream", "known"),
)
_KINDS_BY_FILTER = {
    "": (PRIVATE, HELD, KNOWN),
    "private": (PRIVATE,),
    "held": (HELD,),
    "upstream": (HELD, KNOWN),
}
_BETWEEN = re.compile(r"[-_.\s]+")
_NOT_IN_NAMES = re.compile(r"[^a-z0-9-]+")
_BADGES = {
    PRIVATE: ("private", "private"),
    HELD: ("held", "in the cache"),
    KNOWN: ("upstream", "upstream only"),
}


class Hit(NamedTuple):
    listing: Listing
    badge: tuple[str, str]
    asks_upstream: bool
    """Whether opening its page may."""
    exact: bool


class SearchPage:
    def __init__(self, shell: Shell, search: SearchFile, indexer: Indexer) -> None:
        self._shell = shell
        self._search = search
        self._indexer = indexer

    async def page(self, place: Place) -> web.Response:
        """Every browser gets the same complete page: a script takes the part that it needs."""
        query = place.request.query
        text = query.get("q", "").strip()[:MAX_QUERY]
        where = query.get("where", "") if query.get("where", "") in _KINDS_BY_FILTER else ""
        words = normalized(text)
        await self._indexer.catch_up()
        busy = ""
        try:
            found = await self._find(place, words, where, text)
        except SearchBusy as error:
            found, busy = SearchResult([], complete=False), str(error)
        is_visible = visible(place)
        seen = [each for each in found.listings if is_visible(each.name)]
        found = SearchResult(seen, found.complete)
        part = part_of(place, found.listings, ON_PAGE)
        response = self._shell.page(
            place,
            "search.html",
            503 if busy else 200,
            private=True,
            section="search",
            text=text,
            words=words,
            where=where,
            filters=FILTERS,
            hits=await self._hits(place, part.rows, words),
            found=found,
            number=part.number,
            pages=len(part.numbers),
            busy=busy,
            can_be_name=_is_name(words),
            near=await self._near(place, words) if words and not found.listings else [],
        )
        if busy:
            response.headers["Retry-After"] = "1"
        return response

    async def _find(self, place: Place, words: str, where: str, text: str) -> SearchResult:
        name = place.index.name
        if not text:
            kind = {"held": HELD, "upstream": KNOWN}.get(where, PRIVATE)
            return SearchResult(await self._search.of_kind(name, kind, 1000), complete=True)
        if not words:
            return SearchResult([], complete=True)
        found = await self._search.find(name, words, _KINDS_BY_FILTER[where], text)
        if where not in ("", "upstream") or len(words) < 2:
            return found
        known = {each.name for each in found.listings}
        others = await names_containing(place.index, words, MAX_UPSTREAM)
        more = [Listing(each, KNOWN) for each in others if each not in known]
        exact = [each for each in more if each.name == words]
        rest = [each for each in more if each.name != words]
        return SearchResult([*exact, *found.listings, *rest], found.complete)

    async def _near(self, place: Place, words: str) -> list[str]:
        """Names that are spelled like what was typed, of those that the principal may see."""
        return list(filter(visible(place), await self._search.near(place.index.name, words)))

    async def _hits(self, place: Place, shown: Sequence[Listing], words: str) -> list[Hit]:
        """With the details of projects that were not read so far."""
        unread = [each.name for each in shown if not each.version and each.kind != KNOWN]
        if unread:
            await self._indexer.catch_up(unread)
            fresh = await self._search.some(place.index.name, unread)
            shown = [fresh.get(each.name, each) for each in shown]
        return [
            Hit(each, listing_badge(each), each.kind == KNOWN, each.name == words) for each in shown
        ]


def listing_badge(listing: Listing) -> tuple[str, str]:
    """A class of the style, and the text."""
    return _BADGES[listing.kind]


def normalized(text: str) -> str:
    """The query as a part of a normalized project name."""
    return _NOT_IN_NAMES.sub("", _BETWEEN.sub("-", text.lower()))


def _is_name(words: str) -> bool:
    try:
        return bool(normalize(words))
    except ValueError:
        return False
