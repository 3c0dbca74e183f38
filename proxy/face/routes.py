"""Which address is answered by which page. The pages are imported with the first request of one."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from functools import cached_property
from importlib import import_module
from typing import TYPE_CHECKING

from aiohttp import web

from proxy.events import Events, FileChanged, FileRefused, FileServed, PageChanged, UpstreamFailed
from proxy.face.indexer import Indexer
from proxy.face.past_figures import History
from proxy.face.recent import Recent
from proxy.face.surroundings import Surroundings
from proxy.storage import SearchFile
from proxy.web import Mount, PageRoute

if TYPE_CHECKING:
    from proxy.face.answering import PageAnswers
    from proxy.face.descriptions import Descriptions
    from proxy.face.page_handlers import PageHandlers

ROUTES = (
    ("GET", "/", "home.page"),
    ("GET", "/search/", "search.page"),
    ("GET", "/search", "projects.add_slash"),
    ("GET", "/project/{name}", "projects.add_slash"),
    ("GET", "/project/{name}/", "projects.page"),
    ("POST", "/project/{name}/ask", "projects.ask"),
    ("GET", "/project/{name}/dependencies/", "dependencies.page"),
    ("GET", "/project/{name}/{version}", "projects.add_slash"),
    ("GET", "/project/{name}/{version}/", "projects.page"),
    ("GET", "/-/why/{name}", "why.page"),
    ("GET", "/-/why/{name}/{wanted}", "why.page"),
    ("GET", "/-/activity", "activity.page"),
    ("GET", "/-/audit", "audit.page"),
    ("GET", "/-/tokens", "tokens.page"),
    ("POST", "/-/tokens", "tokens.create"),
    ("POST", "/-/tokens/revoke", "tokens.revoke"),
    ("GET", "/-/admin", "admin.page"),
    ("POST", "/-/admin", "admin.act"),
    ("GET", "/-/upload", "upload.page"),
    ("POST", "/-/upload", "upload.publish"),
    ("GET", "/-/setup", "fixed.setup"),
    ("GET", "/-/ca.pem", "fixed.certificate"),
    ("GET", "/-/help", "fixed.help"),
    ("GET", "/-/static/{hash}/{asset}", "fixed.asset"),
    ("POST", "/-/theme", "fixed.set_theme"),
)
"""Method, path below the root of each index, and attribute of ``PageHandlers``."""
IMPORTED_FIRST = ("jinja2", "proxy.face.answering", "proxy.face.project", "proxy.face.home_page")
"""Modules that the first page imports in a thread: meanwhile installers are answered."""


class Face:
    """All pages for people of a server."""

    def __init__(
        self,
        around: Surroundings,
        search: SearchFile,
        events: Events,
        past: History,
        recent: Recent,
    ) -> None:
        self._around = around
        self._search = search
        self._past = past
        self._recent = recent
        self._importing = asyncio.Lock()
        self._indexer = Indexer(
            *(search, around.indexes, lambda: self._descriptions),
            *(around.private_names, around.poll, recent.note),
        )
        events.subscribe(self._indexer.observe, PageChanged, FileServed)
        events.subscribe(recent.observe, FileServed, FileRefused, FileChanged, UpstreamFailed)

    def routes(self) -> Iterator[PageRoute]:
        """The routes below the root of each index."""
        for method, tail, handler in ROUTES:
            yield self._route(method, tail, handler)

    async def start(self) -> None:
        self._indexer.start()
        await self._past.start()
        await self._recent.start()

    async def close(self) -> None:
        await self._indexer.close()
        if "_handlers" in vars(self):
            await self._handlers.close()
        await self._past.close()
        await self._recent.close()
        await self._search.close()

    def _route(self, method: str, tail: str, handler: str) -> PageRoute:
        async def handle(mount: Mount, request: web.Request) -> web.StreamResponse:
            if "_answers" not in vars(self):
                await self._import()
            return await self._answers.answer(mount, request, tail, handler)

        return PageRoute(method, tail, handle)

    async def _import(self) -> None:
        async with self._importing:
            for name in IMPORTED_FIRST:
                await asyncio.to_thread(import_module, name)

    @cached_property
    def _descriptions(self) -> Descriptions:
        from proxy.face.descriptions import Descriptions

        return Descriptions()

    @cached_property
    def _answers(self) -> PageAnswers:
        from proxy.face.answering import PageAnswers

        return PageAnswers(self._handlers)

    @cached_property
    def _handlers(self) -> PageHandlers:
        from proxy.face.page_handlers import PageHandlers
        from proxy.face.shell import Shell

        return PageHandlers(
            *(Shell(self._around), self._search, self._indexer),
            *(self._descriptions, self._past, self._recent),
        )


def create_face(
    around: Surroundings, search: SearchFile, events: Events, past: History, recent: Recent
) -> Face:
    """``events``: what the pages learn from. The others are closed with the face."""
    return Face(around, search, events, past, recent)
