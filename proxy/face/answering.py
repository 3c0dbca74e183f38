"""Makes pages, a few at a time; an error becomes a page too."""

from __future__ import annotations

import logging
from operator import attrgetter

from aiohttp import web

from proxy.access import Scope
from proxy.errors import ProxyError
from proxy.face.page_handlers import PageHandlers
from proxy.face.problems import problem_page
from proxy.face.shell import Place, is_ours, respond
from proxy.web import REQUEST_STATE, Mount, plain, require

log = logging.getLogger(__name__)

MAX_AT_ONCE = 8
"""Pages that are made at the same time; more get 503, so that installers need not wait."""

BUSY_PAGE = (
    b'<!DOCTYPE html><html lang="en"><title>Busy</title><main><h1>Busy</h1><div id="results">'
    b'<p role="status">Many pages are being made now; try again in a moment.</p>'
    b"</div></main></html>"
)
"""Cheap to make; scripts find the region of hits in it too."""
WITHOUT_RIGHTS = ("fixed.asset", "fixed.set_theme")
"""Handlers that anybody may ask: the page that says which right is missing needs the style."""


class PageAnswers:
    """Answers of all pages of a server."""

    def __init__(self, handlers: PageHandlers) -> None:
        self._shell = handlers.shell
        self._handlers = handlers
        self._running = 0

    async def answer(
        self, mount: Mount, request: web.Request, tail: str, handler: str
    ) -> web.StreamResponse:
        """``tail``: the path of the page below the root of its index; ``handler``: the attribute
        of ``PageHandlers`` that makes it."""
        up = "../" * (tail.count("/") - 1)
        place = Place(request, mount, request.match_info.get("index", ""), up)
        request[REQUEST_STATE].index = mount.index.name
        if self._running >= MAX_AT_ONCE:
            return _busy(request)
        self._running += 1
        try:
            return await self._page(place, handler)
        except ProxyError as error:
            return problem_page(self._shell, place, error)
        except web.HTTPException:
            raise
        except Exception as error:
            log.error("the page %s failed", request.rel_url.raw_path, exc_info=error)
            return problem_page(self._shell, place, error)
        finally:
            self._running -= 1

    async def _page(self, place: Place, handler: str) -> web.StreamResponse:
        if handler not in WITHOUT_RIGHTS:
            require(place.request, Scope.READ, place.index.name)
        if place.request.method == "POST" and not is_ours(
            place.request, self._shell.index_address(place)
        ):
            return plain(403, "this form was not sent by a page of this server")
        found: web.StreamResponse = await attrgetter(handler)(self._handlers)(place)
        return found


def _busy(request: web.Request) -> web.Response:
    response = respond(request, BUSY_PAGE, 503)
    response.headers["Retry-After"] = "1"
    return response
