"""Makes pages, a few at a time; an error becomes a page too."""

from __future__ import annotations

import asyncio
import logging
from operator import attrgetter

from aiohttp import web

from proxy.access import Scope
from proxy.errors import ProxyError
from proxy.face.page_handlers import PageHandlers
from proxy.face.problems import problem_page
from proxy.face.shell import FIELDS, Place, is_ours, read_fields, respond
from proxy.web import REQUEST_STATE, Mount, plain, require

log = logging.getLogger(__name__)

MAX_AT_ONCE = 8
"""Pages that are made at the same time; more get 503, so that installers need not wait."""
MAX_ASKING = 6
"""Of them, those that may wait for an upstream: while one hangs, other pages are made."""
FORM_TIME = 20.0
"""Seconds in which the fields of a form have to arrive."""
ASKING = ("projects.page", "projects.ask", "admin.act")
UPLOAD = "upload.publish"
"""It takes as long as its files need to arrive, and makes a page for a moment at the end."""

BUSY_PAGE = (
    b'<!DOCTYPE html><html lang="en"><title>Busy</title><main><h1>Busy</h1><div id="results">'
    b'<p role="status">Many pages are being made now; try again in a moment.</p>'
    b"</div></main></html>"
)
"""Cheap to make; scripts find the region of hits in it too."""
WITHOUT_RIGHTS = ("fixed.asset", "fixed.set_theme")
"""Handlers without access control: the page that says which right is missing needs the style."""


class PageAnswers:
    """Answers of all pages of a server."""

    def __init__(self, handlers: PageHandlers) -> None:
        self._shell = handlers.shell
        self._handlers = handlers
        self._running = self._asking = 0

    async def answer(
        self, mount: Mount, request: web.Request, tail: str, handler: str
    ) -> web.StreamResponse:
        """``tail``: the path of the page below the root of its index; ``handler``: the attribute
        of ``PageHandlers`` that makes it."""
        up = "../" * (tail.count("/") - 1)
        place = Place(request, mount, request.match_info.get("index", ""), up)
        request[REQUEST_STATE].index = mount.index.name
        try:
            return await self._checked(place, handler)
        except ProxyError as error:
            return problem_page(self._shell, place, error)
        except web.HTTPException:
            raise
        except Exception as error:
            log.error("the page %s failed", request.rel_url.raw_path, exc_info=error)
            return problem_page(self._shell, place, error)

    async def _checked(self, place: Place, handler: str) -> web.StreamResponse:
        request = place.request
        if handler not in WITHOUT_RIGHTS:
            require(request, Scope.READ, place.index.name)
        if request.method == "POST":
            if not is_ours(request, self._shell.index_address(place)):
                return plain(403, "this form was not sent by a page of this server")
            if handler == UPLOAD:
                return await self._page(place, handler)
            await _read_form(request)  # a slow client takes no turn
        return await self._in_turn(place, handler)

    async def _in_turn(self, place: Place, handler: str) -> web.StreamResponse:
        asks = handler in ASKING
        if self._running >= MAX_AT_ONCE or (asks and self._asking >= MAX_ASKING):
            return _busy(place.request)
        self._running += 1
        self._asking += asks
        try:
            return await self._page(place, handler)
        finally:
            self._running -= 1
            self._asking -= asks

    async def _page(self, place: Place, handler: str) -> web.StreamResponse:
        found: web.StreamResponse = await attrgetter(handler)(self._handlers)(place)
        return found


async def _read_form(request: web.Request) -> None:
    """Have the request keep its fields for the handler. Raises as ``read_fields``, and 408."""
    if request.content_type != FIELDS:
        return  # the handler refuses it, or needs no fields
    try:
        async with asyncio.timeout(FORM_TIME):
            await read_fields(request)
    except TimeoutError:
        raise web.HTTPRequestTimeout from None


def _busy(request: web.Request) -> web.Response:
    response = respond(request, BUSY_PAGE, 503)
    response.headers["Retry-After"] = "1"
    return response
