"""The pages for people at ``/`` and ``/NAME/``, and the two paths for health checks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple
from urllib.parse import SplitResult, urlsplit

from aiohttp import web

from proxy import __version__, late_pattern
from proxy.access import Scope
from proxy.web.authentication import may, require_principal
from proxy.web.errors import plain
from proxy.web.metrics import Gauge
from proxy.web.pages import redirect

_HOST_HEADER = late_pattern(
    r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,252})|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?", re.ASCII
)
"""The form of an authority that may be shown: a name or address, and a port."""
_HOME_PAGE_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline';"
    " form-action 'self'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


class Check(NamedTuple):
    """Something that is well, or not."""

    name: str
    is_well: bool
    about: str

    def __str__(self) -> str:
        return f"{'[ok]     ' if self.is_well else '[problem]'} {self.name}: {self.about}"


class Home:
    def __init__(
        self,
        index_url: Callable[[], str],
        ready: Callable[[], bool],
        gauges: Callable[[], Iterable[Gauge]] = lambda: (),
        checks: Callable[[], Iterable[Check]] = lambda: (),
        *,
        fixed: bool,
        names: Callable[[], Sequence[str]] = tuple,
    ) -> None:
        """``index_url``: the address of the index at the root; if not ``fixed``, shown only where
        a request names none. ``gauges`` and ``checks``: what verbose readiness shows. ``names``:
        those of all indexes.
        """
        self._index_url = index_url
        self._ready = ready
        self._gauges = gauges
        self._checks = checks
        self._fixed = fixed
        self._names = names

    async def page(self, request: web.Request) -> web.Response:
        """The page of an index. No cache may store a page with an address that a client chose."""
        name, names = self._name(request), self._visible(request)
        asked = None if self._fixed else _address(request)
        return html_page(
            "home.html",
            "max-age=300" if self._fixed else "no-store",
            url=asked or self._url(name),
            name=name,
            others=names,
            up="../" if name else "",
        )

    async def add_slash(self, request: web.Request) -> web.Response:
        self._name(request)
        return redirect(request, request.path.rpartition("/")[2] + "/")

    def _name(self, request: web.Request) -> str:
        """The name of the addressed index; empty at the root. Raises ``HTTPNotFound``."""
        name = request.match_info.get("index", "")
        if name and name not in self._names():
            require_principal(request)
            raise web.HTTPNotFound
        return name

    def _visible(self, request: web.Request) -> Sequence[str]:
        return [name for name in self._names() if may(request, Scope.READ, name)]

    def _url(self, name: str) -> str:
        root = f"/{name}" if name else ""
        return f"{self._index_url().removesuffix('/simple/')}{root}/simple/"

    async def alive(self, request: web.Request) -> web.Response:
        """Liveness: the event loop runs."""
        return plain(200, "alive")

    async def ready(self, request: web.Request) -> web.Response:
        """Readiness: the server has started, and is not stopping. Nothing else makes it unready.

        ``?verbose`` says what is well and what is not, to those who may see the metrics.
        """
        if not self._ready():
            return plain(503, "not ready")
        if "verbose" not in request.query or not may(request, Scope.METRICS):
            return plain(200, "ready")
        checks = map(str, self._checks())
        values = (f"{gauge.name} {gauge.value:.0f}" for gauge in self._gauges())
        return plain(200, "\n".join(("ready", *checks, *values)))


def _address(request: web.Request) -> str | None:
    """The index at the address that the client used; None if its form is unusual."""
    origin = origin_of(request)
    return f"{origin}{request.path}simple/" if origin else None


def origin_of(request: web.Request) -> str | None:
    """Scheme and authority that the client used; None if their form is unusual.

    The authority of an absolute target counts, else ``Host`` (RFC 9112 section 3.2.2).
    """
    target = request.raw_path
    sent = request.headers.get("Host", "")
    host = sent if target.startswith("/") else split_address(target).netloc
    return f"{request.scheme}://{host}" if _HOST_HEADER.fullmatch(host) else None


def split_address(text: str) -> SplitResult:
    """The parts of an address that a client sent; all are empty if it is invalid."""
    try:
        return urlsplit(text)
    except ValueError:  # such as one with half an IPv6 address
        return urlsplit("")


def html_page(template: str, cache_control: str, status: int = 200, **values: Any) -> web.Response:
    """A page of one of the templates whose names begin with ``plain``."""
    from proxy.presentation import render  # not at every start

    body = render(f"plain_{template}", version=__version__, **values)
    headers = _HOME_PAGE_HEADERS | {"Cache-Control": cache_control}
    return web.Response(
        body=body, content_type="text/html", charset="utf-8", headers=headers, status=status
    )
