"""The project list and the project pages."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable
from typing import Literal

import msgspec
from aiohttp import web
from multidict import MultiMapping

from proxy.events import Outcome, PageRevalidated
from proxy.indexes import Index, LongList, listed_projects
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import decompress_pieces
from proxy.simple import (
    Links,
    MediaType,
    accepts_gzip,
    choose_media,
    html_pieces,
    json_pieces,
    projects_html_pieces,
    projects_json_pieces,
    relative_links,
)
from proxy.upstream import delta_seconds, directives
from proxy.web.authentication import visible_projects
from proxy.web.conditional import not_modified
from proxy.web.errors import phrase
from proxy.web.rendered_pages import RenderedPage, RenderedPages, finish
from proxy.web.request_state import REQUEST_STATE, project_of
from proxy.web.response_cache import CACHEABLE, Cacheable, ResponseCache, cache_control

ABOUT_SHORT = "Lists private projects, and projects of upstreams that have been requested so far."
ABOUT_LONG = "Lists private projects, and all projects of upstreams that show their own lists."
VARY_BY_ACCEPT = "Accept, Accept-Encoding"
HTML_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; "
    "sandbox allow-downloads",  # people may click on a file
    "Referrer-Policy": "no-referrer",
}

REFRESH_WINDOW = 1.0
"""Seconds: a page revalidated so recently is new enough for a client that asks for a refresh.

So many clients that refresh at once cause one request upstream, and a page prefetched for an
installer that refreshes is not fetched twice.
"""

ClientRefresh = Literal["never", "no-cache", "always"]
"""Which requests of clients have a page revalidated: the setting ``client_refresh``."""

NOTICED = ("archived", "deprecated")
"""Statuses of projects (PEP 792) that a header names, since installers do not print them."""


class SimplePages:
    """Handlers of ``/simple/…`` for one index."""

    def __init__(
        self,
        index: Index,
        rendered: RenderedPages,
        cache: ResponseCache,
        clock: Callable[[], float] = time.time,
        client_refresh: ClientRefresh = "no-cache",
        view: str = "",
        generation: int = 0,
    ) -> None:
        """``client_refresh``: which requests have a page revalidated, see ``max_page_age``.
        ``view`` distinguishes the pages of several views of one index. ``generation`` grows with
        each reload, which may change the rules about names.
        """
        self._index = index
        self._rendered = rendered
        self._cache = cache
        self._clock = clock
        self._client_refresh = client_refresh
        self._view = view
        self._generation = generation

    async def projects(self, request: web.Request) -> web.StreamResponse:
        request[REQUEST_STATE].index = self._index.name
        names, media, gzip = await listed_projects(self._index), _media(request), _gzip(request)
        name, control = self._index.name, "max-age=300"
        is_visible = visible_projects(request, self._index.name)
        if not isinstance(names, LongList):
            if is_visible or self._view:  # of one principal or moment, so it is not kept
                shown = filter(is_visible, names) if is_visible else names
                pieces = render_list(sorted(shown), media, False)
                return _respond(request, finish(pieces, media, gzip), control)
            return _respond(request, self._rendered.of_list(name, names, media, gzip), control)
        if is_visible:  # of one principal, so it is not kept
            page = await self._rendered.render_long_list(names.only(is_visible), media)
        else:
            page = await self._rendered.of_long_list(name, names, media, self._generation)
        if gzip or not page.encoding:  # a short list is not compressed
            return _respond(request, page, control)
        return await _unpacked(request, page, control)

    async def page(self, request: web.Request) -> web.Response:
        state = request[REQUEST_STATE]
        state.index = self._index.name
        project = project_of(request)
        if request.match_info["project"] != project:
            return redirect(request, f"../{project}/")
        max_age = max_page_age(request.headers, self._client_refresh)
        page = await self._index.page(project, max(0.0, self._clock() - max_age))
        state.page, state.changes = page, self._cache.changes(project)
        rendered = await self._rendered.of_page(
            self._index.name + self._view, page, _media(request), _gzip(request)
        )
        not_after = math.inf if page.not_after is None else page.not_after
        control = cache_control(
            page.fresh_until, self._clock(), not_after, may_change=page.may_change
        )
        response = _respond(request, rendered, control)
        if page.status and page.status.status in NOTICED:
            notice = "; ".join(filter(None, [page.status.status, page.status.reason]))
            response.headers["Waystation-Notice"] = phrase(notice)
        if page.refused:
            response.headers["Waystation-Hidden"] = str(page.refused)
        if page.version:
            expires = page.fresh_until is not None
            response[CACHEABLE] = Cacheable(
                self._index.name,
                project,
                Outcome.HIT if expires else Outcome.LOCAL,
                state.changes,
                PageRevalidated.of(page) if expires else None,
                max_age,
                not_after,
                page.may_change,
            )
        return response

    async def add_slash(self, request: web.Request) -> web.Response:
        request[REQUEST_STATE].index = self._index.name
        return redirect(request, f"{project_of(request)}/")


def max_page_age(headers: MultiMapping[str], refresh: ClientRefresh) -> float:
    """Seconds since its last revalidation that a page may have for this request.

    Reads ``no-cache``, ``max-age`` and ``Pragma`` (RFC 9111, sections 5.2.1 and 5.4). pip
    before 26.2 sends ``max-age=0`` with every page, without being asked to: only "always"
    obeys that. Other directives change nothing: to store pages is the purpose of this server,
    and its own settings say when they are stale.
    """
    if refresh == "never":
        return math.inf
    lines = headers.getall("Cache-Control", None) or headers.getall("Pragma", None)
    if not lines:
        return math.inf
    wanted = directives(lines)
    if "no-cache" in wanted:
        return REFRESH_WINDOW
    age = delta_seconds(wanted.get("max-age"))
    if age is None or (age == 0 and refresh != "always"):
        return math.inf
    return max(age, REFRESH_WINDOW)


def redirect(request: web.Request, target: str) -> web.Response:
    """To a relative address, which is right for any host and prefix.

    Clients may not store it: pip would keep a permanent redirect without limit.
    """
    query = request.rel_url.raw_query_string
    headers = {
        "Location": target + (f"?{query}" if query else ""),
        "Cache-Control": "no-store",
        "Vary": VARY_BY_ACCEPT,
    }
    return web.Response(status=301, headers=headers)


def render_page(page: ProjectPage, media: MediaType, provenance: Links | None) -> Iterable[bytes]:
    render = json_pieces if media.is_json else html_pieces
    return render(page, relative_links, provenance)


def render_list(
    names: Iterable[ProjectName], media: MediaType, with_upstream: bool
) -> Iterable[bytes]:
    """``names``: sorted. The list says what it lists."""
    render = projects_json_pieces if media.is_json else projects_html_pieces
    return render(names, ABOUT_LONG if with_upstream else ABOUT_SHORT)


async def _unpacked(
    request: web.Request, page: RenderedPage, cache_control: str
) -> web.StreamResponse:
    """A compressed page for a client that takes no gzip: never in memory as a whole."""
    plain = msgspec.structs.replace(page, encoding=None, etag=f'{page.etag[:-1]}-plain"', body=b"")
    head = _respond(request, plain, cache_control)
    if head.status == 304:
        return head
    response = web.StreamResponse(headers=head.headers)
    response.headers.popall("Content-Length", None)
    await response.prepare(request)
    if request.method != "HEAD":
        for piece in decompress_pieces(page.body):
            await response.write(piece)
            request[REQUEST_STATE].sent += len(piece)
    return response


def _media(request: web.Request) -> MediaType:
    return choose_media(request.headers.get("Accept"), request.query.get("format"))


def _gzip(request: web.Request) -> bool:
    return accepts_gzip(request.headers.get("Accept-Encoding"))


def _respond(request: web.Request, page: RenderedPage, cache_control: str) -> web.Response:
    headers = {"ETag": page.etag, "Cache-Control": cache_control, "Vary": VARY_BY_ACCEPT}
    if "If-None-Match" in request.headers and not_modified(request.headers, page.etag):
        return web.Response(status=304, headers=headers)
    headers["Content-Type"] = page.media.content_type
    headers["X-Content-Type-Options"] = "nosniff"
    if not page.media.is_json:
        headers |= HTML_HEADERS
    if page.encoding:
        headers["Content-Encoding"] = page.encoding
    return web.Response(body=page.body, headers=headers)
