"""Which address is answered by which page, and what happens when a page cannot be made."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterator
from functools import cached_property
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.errors import ProxyError
from proxy.events import AnswerServed, Events, FileChanged, FileRefused, PageChanged, UpstreamFailed
from proxy.face.activity import ActivityPages
from proxy.face.admin_page import AdminPage
from proxy.face.dependencies import DependencyPages
from proxy.face.descriptions import Descriptions, Readmes
from proxy.face.fixed_pages import FixedPages
from proxy.face.home_page import HomePage
from proxy.face.indexer import Indexer
from proxy.face.past_figures import History
from proxy.face.problems import problem_page
from proxy.face.project import ProjectPages
from proxy.face.recent import Recent
from proxy.face.search_page import SearchPage
from proxy.face.shell import Place, Shell, Surroundings, is_ours, respond
from proxy.face.tokens_page import TokensPage
from proxy.face.upload_page import UploadPage
from proxy.face.why import WhyPages
from proxy.storage import SearchFile
from proxy.web import REQUEST_STATE, Mount, PageRoute, plain

if TYPE_CHECKING:
    from proxy.face.audit_page import AuditPage

log = logging.getLogger(__name__)

MAX_AT_ONCE = 8
"""Pages that are made at the same time; more get 503, so that installers need not wait."""

BUSY_PAGE = (
    b'<!DOCTYPE html><html lang="en"><title>Busy</title><main><h1>Busy</h1><div id="results">'
    b'<p role="status">Many pages are being made now; try again in a moment.</p>'
    b"</div></main></html>"
)
"""Cheap to make; scripts find the region of hits in it too."""

Answer = Callable[[Place], Awaitable[web.StreamResponse]]


class Face:
    """All pages for people of a server."""

    def __init__(
        self, shell: Shell, search: SearchFile, events: Events, past: History, recent: Recent
    ) -> None:
        self._shell = shell
        self._search = search
        self._past = past
        self._recent = recent
        self._running = 0
        self._fixed = FixedPages(shell)
        self._readmes = Readmes()
        self._why = WhyPages(shell)
        self._tokens = TokensPage(shell, shell.around.token_store, shell.around.token_max_age)
        self._admin = AdminPage(shell, shell.around.administration)
        self._upload = UploadPage(shell)
        descriptions = Descriptions()
        self._projects = ProjectPages(shell, descriptions, self._readmes, recent)
        around = shell.around
        self._indexer = Indexer(
            search, around.indexes, descriptions, around.private_names, around.poll, recent.note
        )
        events.subscribe(self._indexer.observe, PageChanged, AnswerServed)
        events.subscribe(recent.observe, AnswerServed, FileRefused, FileChanged, UpstreamFailed)
        self._activity = ActivityPages(shell, past, recent, around.cache_size, around.cache_limit)
        self._home = HomePage(shell, search, self._indexer, self._activity, recent)
        self._finding = SearchPage(shell, search, self._indexer)
        self._dependencies = DependencyPages(shell, search, descriptions)

    def routes(self) -> Iterator[PageRoute]:
        """The routes below the root of each index."""
        yield self._get("/", self._home.page)
        yield self._get("/search/", self._finding.page)
        yield self._get("/search", self._projects.add_slash)
        yield self._get("/project/{name}", self._projects.add_slash)
        yield self._get("/project/{name}/", self._projects.page)
        yield self._post("/project/{name}/ask", self._projects.ask)
        yield self._get("/project/{name}/dependencies/", self._dependencies.page)
        yield self._get("/project/{name}/{version}", self._projects.add_slash)
        yield self._get("/project/{name}/{version}/", self._projects.page)
        yield self._get("/-/why/{name}", self._why.page)
        yield self._get("/-/why/{name}/{wanted}", self._why.page)
        yield self._get("/-/activity", self._activity.page)
        yield self._get("/-/audit", self._audit_page)
        yield self._get("/-/tokens", self._tokens.page)
        yield self._post("/-/tokens", self._tokens.create)
        yield self._post("/-/tokens/revoke", self._tokens.revoke)
        yield self._get("/-/admin", self._admin.page)
        yield self._post("/-/admin", self._admin.act)
        yield self._of_mount("GET", "/-/upload", self._upload.page)
        yield self._of_mount("POST", "/-/upload", self._upload.publish)
        yield self._get("/-/setup", self._fixed.setup)
        yield self._get("/-/ca.pem", self._fixed.certificate)
        yield self._get("/-/help", self._fixed.help)
        yield self._get("/-/static/{hash}/{asset}", self._fixed.asset)
        yield self._post("/-/theme", self._fixed.set_theme)

    @cached_property
    def _audit(self) -> AuditPage:
        from proxy.face.audit_page import AuditPage  # not at every start

        return AuditPage(self._shell, self._shell.around.audit_folder)

    async def _audit_page(self, place: Place) -> web.StreamResponse:
        return await self._audit.page(place)

    async def start(self) -> None:
        self._indexer.start()
        await self._past.start()
        await self._recent.start()

    async def close(self) -> None:
        await self._indexer.close()
        await self._activity.close()
        await self._past.close()
        await self._recent.close()
        await self._readmes.close()
        await self._search.close()
        self._tokens.close()

    def _get(self, tail: str, answer: Answer) -> PageRoute:
        return PageRoute("GET", tail, self._handler(tail, answer))

    def _of_mount(
        self, method: str, tail: str, answer: Callable[[Mount, Place], Awaitable[web.Response]]
    ) -> PageRoute:
        """For a page that needs more than the index; it checks forms itself."""

        async def handle(mount: Mount, request: web.Request) -> web.StreamResponse:
            return await self._handler(tail, lambda place: answer(mount, place))(mount, request)

        return PageRoute(method, tail, handle)

    def _post(self, tail: str, answer: Answer) -> PageRoute:
        async def checked(place: Place) -> web.StreamResponse:
            if not is_ours(place.request, self._shell.index_address(place)):
                return plain(403, "this form was not sent by a page of this server")
            return await answer(place)

        return PageRoute("POST", tail, self._handler(tail, checked))

    def _handler(
        self, tail: str, answer: Answer
    ) -> Callable[[Mount, web.Request], Awaitable[web.StreamResponse]]:
        up = "../" * (tail.count("/") - 1)

        async def handle(mount: Mount, request: web.Request) -> web.StreamResponse:
            name = request.match_info.get("index", "")
            place = Place(request, mount.index, name, up, mount.accepts_uploads)
            request[REQUEST_STATE].index = mount.index.name
            if self._running >= MAX_AT_ONCE:
                return self._busy(place)
            self._running += 1
            try:
                return await answer(place)
            except ProxyError as error:
                return problem_page(self._shell, place, error)
            except web.HTTPException:
                raise
            except Exception as error:
                log.error("the page %s failed", request.rel_url.raw_path, exc_info=error)
                return problem_page(self._shell, place, error)
            finally:
                self._running -= 1

        return handle

    def _busy(self, place: Place) -> web.Response:
        response = respond(place.request, BUSY_PAGE, 503)
        response.headers["Retry-After"] = "1"
        return response


def create_face(
    around: Surroundings, search: SearchFile, events: Events, past: History, recent: Recent
) -> Face:
    """``events``: what the pages learn from. The others are closed with the face."""
    return Face(Shell(around), search, events, past, recent)
