"""The common parts of all pages for people: their place, their frame, and their headers."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, NamedTuple, TypeVar
from urllib.parse import urlsplit

from aiohttp import web
from multidict import MultiMapping

from proxy import __version__
from proxy.access import Scope
from proxy.face.surroundings import Surroundings
from proxy.indexes import Index
from proxy.model import ProjectName
from proxy.presentation import assets, render
from proxy.runtime import compress
from proxy.simple import accepts_gzip
from proxy.web import (
    REQUEST_STATE,
    Mount,
    may,
    not_modified,
    origin_of,
    split_address,
    visible_projects,
)

FIELDS = "application/x-www-form-urlencoded"
"""The type of forms without files."""
T = TypeVar("T")
THEMES = ("auto", "light", "dark")
THEME_COOKIE = "theme"
PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self';"
    " img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none';"
    " frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    "X-Robots-Tag": "noindex",
}


class ListPart(NamedTuple, Generic[T]):
    """Of a long list."""

    rows: Sequence[T]
    number: int
    numbers: range
    """Of all parts."""


@dataclass(frozen=True, slots=True)
class Place:
    """The place of a page, from which relative addresses lead, below any prefix."""

    request: web.Request
    mount: Mount
    name: str
    """The segment that names the index; empty at the root."""
    up: str
    """To the root of the index."""

    @property
    def index(self) -> Index:
        return self.mount.index

    @property
    def top(self) -> str:
        """To the root of the server."""
        return f"../{self.up}" if self.name else self.up

    def link(self, path: str) -> str:
        """The relative address of a path below the root of the index."""
        return f"{self.up}{path}" or "./"


@dataclass(frozen=True, slots=True)
class Shell:
    """Makes responses of templates."""

    around: Surroundings
    banner: Callable[[], tuple[str, str] | None] = field(default=lambda: None)
    """The gravity and text of what is to be said on top of every page."""

    def index_address(self, place: Place) -> str:
        """The address of the index for installers, as a client of this request can use it."""
        own = self.around.index_url().removesuffix("simple/").removesuffix("/")
        if self.around.fixed_url:
            base = own
        else:
            origin = origin_of(place.request)
            base = f"{origin}{_prefix(place)}" if origin else own
        return f"{base}{f'/{place.name}' if place.name else ''}/simple/"

    def page(
        self,
        place: Place,
        template: str,
        status: int = 200,
        *,
        private: bool = False,
        section: str = "",
        **values: Any,
    ) -> web.Response:
        """``private``: no cache may keep it. ``section``: of the navigation, where this page is."""
        body = render(template, **{**self._frame(place, section), **values})
        control = "private, no-store" if private or status != 200 else "private, no-cache"
        return respond(place.request, body, status, control)

    def _frame(self, place: Place, section: str) -> Mapping[str, Any]:
        theme = place.request.cookies.get(THEME_COOKIE, "")
        loaded = assets()
        return {
            "place": place,
            "up": place.up,
            "top": place.top,
            "static": {name: f"{place.top}-/static/{each.path}" for name, each in loaded.items()},
            "theme": theme if theme in THEMES else "auto",
            "themes": THEMES,
            "section": section,
            "shows_upload": place.mount.accepts_uploads and _may_upload(place),
            "shows_activity": may(place.request, Scope.METRICS),
            "shows_admin": may(place.request, Scope.ADMIN),
            "shows_tokens": self.around.token_store and place.request[REQUEST_STATE].principal,
            "shows_audit": self.around.audit_folder and may(place.request, Scope.AUDIT),
            "indexes": [n for n in self.around.names() if may(place.request, Scope.READ, n)],
            "offline": self.around.offline,
            "server_version": __version__,
            "banner": self.banner(),
            "url": self.index_address(place),
            "now": self.around.clock(),
        }


def visible(place: Place) -> Callable[[str], bool]:
    """A test of names of projects: whether the principal may see that name."""
    test = visible_projects(place.request, place.index.name)
    return lambda name: test is None or test(ProjectName(name))


def sees_all(place: Place) -> bool:
    """Whether the principal may see the names of all projects: of what happened, most name one."""
    return visible_projects(place.request, place.index.name) is None


def part_of(place: Place, rows: Sequence[T], size: int, field: str = "page") -> ListPart[T]:
    """The part of a long list whose number, from 1, is in that field of the query."""
    numbers = range(1, (len(rows) - 1) // size + 2)
    text = place.request.query.get(field, "")
    wanted = int(text) if text.isdecimal() and len(text) < 9 else 1
    number = max(1, min(wanted, numbers[-1] if numbers else 1))
    return ListPart(rows[(number - 1) * size : number * size], number, numbers)


def _may_upload(place: Place) -> bool:
    """Without access control, uploads are accepted from this machine; the page says so."""
    rights = place.request[REQUEST_STATE].rights
    return rights is None or may(place.request, Scope.UPLOAD, place.index.name)


def _prefix(place: Place) -> str:
    """The part of the path before the root of the server, as the client sees it."""
    segments = place.request.rel_url.raw_path.split("/")
    depth = place.up.count("../") + bool(place.name)
    return "/".join(segments[: len(segments) - 1 - depth])


def respond(
    request: web.Request, body: bytes, status: int = 200, control: str = "private, no-store"
) -> web.Response:
    """A page; 304 if the client has the same bytes."""
    headers = PAGE_HEADERS | {"Cache-Control": control, "Vary": "Cookie, Accept-Encoding"}
    if "no-store" not in control:
        headers["ETag"] = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
        if "If-None-Match" in request.headers and not_modified(request.headers, headers["ETag"]):
            return web.Response(status=304, headers=headers)
    if accepts_gzip(request.headers.get("Accept-Encoding")):
        headers["Content-Encoding"] = "gzip"
        body = compress(body)
    return web.Response(
        body=body, status=status, headers=headers, content_type="text/html", charset="utf-8"
    )


def see_other(target: str) -> web.Response:
    """After a form was sent. ``target``: a relative address of ours."""
    headers = PAGE_HEADERS | {"Location": target, "Cache-Control": "no-store"}
    return web.Response(status=303, headers=headers)


def is_ours(request: web.Request, own: str) -> bool:
    """Whether a page of this server sent the form: browsers say which origin did.

    ``own``: the address of the index, whose origin a server in front may have. Schemes are not
    compared, since a server in front may add TLS; ports are.
    """
    sent = request.headers.get("Origin") or request.headers.get("Referer", "")
    parts = split_address(sent or "")
    here = (origin_of(request) or "").partition("://")[2]
    server = urlsplit(own)
    return bool(parts.netloc) and parts.netloc in (here, server.netloc)


async def read_fields(request: web.Request) -> MultiMapping[Any]:
    """The fields of a form without files. Raises an answer with 400 or 413 for a bad form."""
    if request.content_type != FIELDS:
        raise web.HTTPBadRequest
    try:
        return await request.post()
    except (ValueError, LookupError, web.RequestPayloadError) as error:  # or an unknown charset
        raise web.HTTPBadRequest from error
