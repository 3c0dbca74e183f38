"""Routes that are made when a request may be for one of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

from aiohttp import web
from aiohttp.web_urldispatcher import AbstractRoute, UrlDispatcher


class LateRoutes(web.AbstractResource):
    """The routes below one path, made with the first request for a path below it.

    aiohttp compiles a pattern for each route with a variable. Most servers are asked at one root
    only: the patterns below all others would take a tenth of the CPU of a start.
    """

    def __init__(self, path: str, make: Callable[[], Iterable[web.RouteDef]]) -> None:
        """``path`` is the common start of the paths of all routes; it ends with a variable."""
        super().__init__()
        self._path = path
        self._make = make

    @cached_property
    def _router(self) -> UrlDispatcher:
        router = UrlDispatcher()
        router.add_routes(self._make())
        return router

    @property
    def canonical(self) -> str:
        """By the part before its variable aiohttp finds this resource for a request."""
        return self._path

    async def resolve(
        self, request: web.Request
    ) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """The route of a request; without one None, and the methods of its path."""
        found = await self._router.resolve(request)
        if found.http_exception is None:
            return found, set()
        refused = found.http_exception
        known = refused.allowed_methods if isinstance(refused, web.HTTPMethodNotAllowed) else ()
        return None, set(known)

    def __iter__(self) -> Iterator[AbstractRoute]:
        return iter(self._router.routes())

    def __len__(self) -> int:
        return len(self._router.routes())

    def raw_match(self, path: str) -> bool:
        """No route is added to this resource by its path."""
        return False

    def get_info(self) -> Any:
        return {"path": self._path}

    def url_for(self, **_: str) -> Any:
        """Raises ``NotImplementedError``: links are made from paths."""
        raise NotImplementedError

    def add_prefix(self, prefix: str) -> None:
        """Raises ``NotImplementedError``: the application is in no other one."""
        raise NotImplementedError
