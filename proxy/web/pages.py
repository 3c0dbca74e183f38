"""The project list and the project pages."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Set

from aiohttp import web

from proxy.errors import NotFound
from proxy.events import Outcome, PageRevalidated
from proxy.indexes import Index
from proxy.model import ProjectName, ProjectPage, normalize
from proxy.simple import (
    Links,
    MediaType,
    accepts_gzip,
    choose_media,
    html_pieces,
    json_pieces,
    projects_html,
    projects_json,
    relative_links,
)
from proxy.web.conditional import not_modified
from proxy.web.rendered_pages import RenderedPage, RenderedPages
from proxy.web.response_cache import (
    CACHEABLE,
    Cacheable,
    ChangeCounter,
    ClientRefresh,
    cache_control,
    max_page_age,
    no_changes,
)

VARY = "Accept, Accept-Encoding"
HTML_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; "
    "sandbox allow-downloads",  # people may click on a file
    "Referrer-Policy": "no-referrer",
}


PAGE_KEY = web.RequestKey("page", ProjectPage)
"""The page that a request was answered with."""


class NotAName(NotFound):
    def __str__(self) -> str:
        return "that is not a project name"


class SimplePages:
    """Handlers of ``/simple/…`` for one index."""

    def __init__(
        self,
        index: Index,
        provenance: Links | None = None,
        changes: ChangeCounter = no_changes,
        clock: Callable[[], float] = time.time,
        client_refresh: ClientRefresh = "no-cache",
    ) -> None:
        """``provenance``: the link that provenance addresses are made from, if not relative.
        ``changes``: see ``FinishedAnswers``; ``client_refresh``: see ``max_page_age``.
        """
        self._index = index
        self._changes = changes
        self._clock = clock
        self._client_refresh = client_refresh
        self.answers = RenderedPages(
            lambda page, media: _rendered(page, media, provenance), _rendered_list
        )

    async def projects(self, request: web.Request) -> web.Response:
        names = await self._index.projects()
        answer = self.answers.of_list(names, _media(request), _gzip(request))
        return _respond(request, answer, "max-age=300")

    async def page(self, request: web.Request) -> web.Response:
        project = project_of(request)
        if request.match_info["project"] != project:
            return redirect(request, f"../{project}/")
        max_age = max_page_age(request.headers, self._client_refresh)
        page = await self._index.page(project, max(0.0, self._clock() - max_age))
        request[PAGE_KEY], changes = page, self._changes(project)
        answer = await self.answers.get(page, _media(request), _gzip(request))
        response = _respond(request, answer, cache_control(page.fresh_until, self._clock()))
        if page.version:
            response[CACHEABLE] = _repeatable(page, changes, max_age)
        return response

    async def add_slash(self, request: web.Request) -> web.Response:
        return redirect(request, f"{project_of(request)}/")


def _repeatable(page: ProjectPage, changes: int, max_age: float) -> Cacheable:
    if page.fresh_until is None:
        return Cacheable(page.project, Outcome.LOCAL, changes)
    vouched = PageRevalidated.of(page)
    return Cacheable(page.project, Outcome.HIT, changes, vouched, max_age)


def project_of(request: web.Request) -> ProjectName:
    """The project that the address names. Raises ``NotAName``."""
    try:
        return normalize(request.match_info["project"])
    except ValueError:
        raise NotAName from None


def redirect(request: web.Request, target: str) -> web.Response:
    """To a relative address, which holds behind any host and prefix.

    Not to be stored: pip keeps permanent redirects for ever otherwise.
    """
    query = request.rel_url.raw_query_string
    headers = {
        "Location": target + (f"?{query}" if query else ""),
        "Cache-Control": "no-store",
        "Vary": VARY,
    }
    return web.Response(status=301, headers=headers)


def _rendered(page: ProjectPage, media: MediaType, provenance: Links | None) -> Iterable[bytes]:
    form = json_pieces if media.is_json else html_pieces
    return form(page, relative_links, provenance)


def _rendered_list(names: Set[ProjectName], media: MediaType) -> bytes:
    return projects_json(names) if media.is_json else projects_html(names)


def _media(request: web.Request) -> MediaType:
    return choose_media(request.headers.get("Accept"), request.query.get("format"))


def _gzip(request: web.Request) -> bool:
    return accepts_gzip(request.headers.get("Accept-Encoding"))


def _respond(request: web.Request, answer: RenderedPage, cache_control: str) -> web.Response:
    headers = {"ETag": answer.etag, "Cache-Control": cache_control, "Vary": VARY}
    if not_modified(request.headers, answer.etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = answer.media.content_type
    headers["X-Content-Type-Options"] = "nosniff"
    if not answer.media.is_json:
        headers |= HTML_HEADERS
    if answer.encoding:
        headers["Content-Encoding"] = answer.encoding
    return web.Response(body=answer.body, headers=headers)
