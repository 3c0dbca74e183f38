"""The web application: which path is answered by what."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol

from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from proxy.access import Access, Scope
from proxy.events import Observer
from proxy.indexes import Index
from proxy.simple import Links
from proxy.web.admin import Administration, admin_routes
from proxy.web.as_of import AS_OF
from proxy.web.authentication import GATE, authenticate, requiring
from proxy.web.counters import Counters
from proxy.web.gate import Gate
from proxy.web.home import Check, Home
from proxy.web.late_routes import LateRoutes
from proxy.web.limits import LIMITS, ClientLimits, limit_clients
from proxy.web.metrics import Gauge, Metrics
from proxy.web.middleware import (
    EVENT_OBSERVER,
    READY,
    RESPONSE_CACHE,
    handle_request,
    note_start,
)
from proxy.web.mounts import INDEX_SEGMENT, FindSite, Mount, Mounts, Shared, WrapAsOf
from proxy.web.pages import ClientRefresh, redirect, render_list, render_page
from proxy.web.project_json import FindDocument, no_document
from proxy.web.refusals import CONTACT, Contact
from proxy.web.rendered_pages import RenderedPages
from proxy.web.response_cache import ResponseCache
from proxy.web.sampling import Sampler, Sources

if TYPE_CHECKING:
    from proxy.publish import Publisher

PageHandler = Callable[[Mount, web.Request], Awaitable[web.StreamResponse]]
_SLASHES = re.compile("/{2,}")


class PageRoute(NamedTuple):
    """A page for people, below the root of each index."""

    method: str
    tail: str
    """Its path below that root; its variables are not ``project`` or ``filename``, by which
    requests of installers are known."""
    answer: PageHandler


class PagesForPeople(Protocol):
    """PagesForPeople for people, and what they keep open."""

    def routes(self) -> Iterable[PageRoute]: ...

    async def start(self) -> None: ...

    async def close(self) -> None: ...


MOUNTS: web.AppKey[Mounts] = web.AppKey("mounts")
"""The served indexes, which can be replaced."""


def create_app(
    indexes: Mapping[str, Index],
    *,
    index_url: Callable[[], str],
    fixed_url: bool = True,
    prefix: str = "",
    provenance: Links | None = None,
    ready: Callable[[], bool] = lambda: True,
    response_cache: ResponseCache | None = None,
    events: Observer = lambda event: None,
    counters: Counters | None = None,
    gauges: Callable[[], Iterable[Gauge]] = lambda: (),
    sources: Sources | None = None,
    checks: Callable[[], Iterable[Check]] = lambda: (),
    clock: Callable[[], float] = time.time,
    client_refresh: ClientRefresh = "no-cache",
    help_text: str = "",
    as_of: WrapAsOf | None = None,
    pages: PagesForPeople | None = None,
    access: Access | None = None,
    administration: Administration | None = None,
    find_document: FindDocument = no_document,
    publishers: Mapping[str, Publisher] | None = None,
    site_of: FindSite = lambda path: None,
    limits: ClientLimits | None = None,
    around: Iterable[Middleware] = (),
) -> web.Application:
    """An application that answers for indexes, each below a root, such as ``""`` or ``/team``.

    ``index_url``, of the index at the root ``""``, is shown to people; without ``fixed_url``, the
    address of their request is.
    ``prefix`` is a path under which everything is answered as well, for a reverse proxy that
    passes it on. ``provenance``: the links of provenance files, if not relative.
    ``response_cache`` is filled for the fast path of ``Server``. ``events`` gets an
    ``AnswerServed`` for every request. ``counters``: what ``/metrics`` shows; without them there
    is no such page. ``gauges``: values that ``/metrics`` and ``/readyz?verbose`` show as
    of now, ``sources``: of those that are summed over all processes, ``checks``: what is well.
    ``client_refresh``: which requests have a page revalidated, see
    ``max_page_age``. ``help_text`` is for people whose request a policy refuses. ``as_of`` makes
    the views at ``/+asof/<instant>/``. ``pages`` are for people; with them there is no plain page
    at ``/``. ``access``: who may do what; without it, everybody may read. ``find_document``: what
    upstreams say of a project besides. ``administration`` is offered at ``/-/admin/``.
    ``publishers``: where uploads to each root go; ``site_of``: the server to which others are
    passed on. ``limits``: those of clients. ``around``: middlewares outside of all others.
    """
    inner = [*([authenticate] if access else []), *([limit_clients] if limits else [])]
    app = web.Application(middlewares=[*around, handle_request, *inner])
    if limits:
        app[LIMITS] = limits
    if access:
        app[GATE] = Gate(access, prefix)
    app[EVENT_OBSERVER] = events
    app[READY] = ready
    app[RESPONSE_CACHE] = response_cache or ResponseCache()
    app[CONTACT] = Contact(
        (lambda: index_url().removesuffix("/simple/")) if fixed_url else None, prefix, help_text
    )
    rendered = RenderedPages(partial(render_page, provenance=provenance), render_list)
    shared = Shared(
        *(rendered, app[RESPONSE_CACHE], clock, client_refresh, as_of, find_document, site_of),
        controls_access=access is not None,
    )
    mounts = app[MOUNTS] = Mounts(indexes, shared, publishers or {})
    metrics = _metrics(app, counters, gauges, sources or Sources())
    home = Home(index_url, ready, gauges, checks, fixed=fixed_url, names=lambda: mounts.names)
    if access:
        from proxy.web.token_exchange import TokenExchange  # most servers control no access

        app.add_routes(TokenExchange(mounts.accepting, prefix).routes())
    face = list(pages.routes()) if pages else []
    for base in dict.fromkeys(("", prefix)):
        app.router.add_get(f"{base}/healthz", home.alive)
        app.router.add_get(f"{base}/readyz", home.ready)
        of_index = partial(index_routes, home=home, mounts=mounts, pages=face)
        app.add_routes(of_index(base))
        for root, make in (
            (base + AS_OF, partial(routes, mounts=mounts)),
            (base + INDEX_SEGMENT, of_index),
            (base + INDEX_SEGMENT + AS_OF, partial(routes, mounts=mounts)),
        ):
            app.router.register_resource(LateRoutes(root, partial(make, root)))
        if administration:
            app.add_routes(admin_routes(base, administration))
        if metrics:
            app.router.add_get(f"{base}/metrics", requiring(Scope.METRICS, metrics.page))

    async def close(_: web.Application) -> None:
        await rendered.close()

    app.on_cleanup.append(close)
    if pages:
        _tend(app, pages)
    app.on_response_prepare.append(note_start)
    return app


def _tend(app: web.Application, pages: PagesForPeople) -> None:
    """Start the pages with the application, and close them with it."""

    async def running(_: web.Application) -> AsyncIterator[None]:
        await pages.start()
        yield
        await pages.close()

    app.cleanup_ctx.append(running)


def _metrics(
    app: web.Application,
    counters: Counters | None,
    gauges: Callable[[], Iterable[Gauge]],
    sources: Sources,
) -> Metrics | None:
    """The page of the counters, whose gauges are measured while the application runs."""
    if counters is None:
        return None
    mounts = app[MOUNTS]
    sampler = Sampler(counters, sources._replace(running=lambda: mounts.running))
    app.cleanup_ctx.append(sampler.running)
    return Metrics(counters, gauges, sampler.sample)


def index_routes(
    root: str, home: Home, mounts: Mounts, pages: Sequence[PageRoute]
) -> list[web.RouteDef]:
    """All that is answered of the index at ``root`` now, not as of a moment."""
    return [
        *home_routes(root, home, plain_page=not pages),
        *page_routes(root, mounts, pages),
        *routes(root, mounts),
        *upload_routes(root, mounts),
    ]


def home_routes(root: str, home: Home, *, plain_page: bool) -> list[web.RouteDef]:
    """The plain page for people, and the way to the page there."""
    page = [web.get(f"{root}/", home.page)] if plain_page else []
    return [*page, *([web.get(root, home.add_slash)] if root else [])]


def page_routes(root: str, mounts: Mounts, pages: Iterable[PageRoute]) -> list[web.RouteDef]:
    """The pages for people below ``root``; they check rights themselves, and show what lacks."""
    return [
        web.RouteDef(method, root + tail, mounts.answering(_bound(answer), reads=False), {})
        for method, tail, answer in pages
    ]


def _bound(answer: PageHandler) -> Callable[[Mount], Handler]:
    return lambda mount: partial(answer, mount)


def routes(root: str, mounts: Mounts) -> list[web.RouteDef]:
    """The routes of the indexes below ``root``: Simple API (PEP 503), files, explanations."""
    return [
        web.get(f"{root}/simple", _to_list),
        web.get(f"{root}/simple/", mounts.handler("project_list")),
        web.get(f"{root}/simple{{tail:(?:/.*)?//.*}}", _without_empty_segments),
        web.get(f"{root}/simple/index.html", _to_directory),
        web.get(f"{root}/simple/{{project}}/index.html", _to_directory),
        web.get(f"{root}/simple/{{project}}", mounts.handler("pages.add_slash")),
        web.get(f"{root}/simple/{{project}}/", mounts.handler("pages.page")),
        web.get(f"{root}/files/{{project}}/{{digest}}/{{filename}}", mounts.handler("files.file")),
        web.get(
            f"{root}/-/blobs/{{digest}}/{{project}}/{{filename}}", mounts.handler("files.stored")
        ),
        web.get(f"{root}/packages/{{folders:.+}}/{{filename}}", mounts.handler("packages.file")),
        *_project_json_routes(f"{root}/pypi", mounts),
        web.get(f"{root}/+explain/{{project}}", mounts.handler("explain.page")),
        web.get(f"{root}/+explain/{{project}}/{{wanted}}", mounts.handler("explain.page")),
    ]


def _project_json_routes(root: str, mounts: Mounts) -> list[web.RouteDef]:
    """PyPI's JSON API. An index may be named ``pypi``: its own addresses are not meant."""
    project = "{project:(?!simple/|pypi/[^/]+/)[^/]+}"
    handlers = {
        "json": mounts.handler("project_json.page"),
        "json/": mounts.handler("project_json.without_slash"),
    }
    return [
        web.get(f"{root}/{project}{version}/{end}", handler)
        for version in ("", "/{version}")
        for end, handler in handlers.items()
    ]


def upload_routes(root: str, mounts: Mounts) -> list[web.RouteDef]:
    """The legacy upload API, also at the root of the index, and later changes.

    Both spellings are answered, as most tools follow no redirect of an upload.
    """
    paths = [f"{root}/legacy/", f"{root}/legacy", f"{root}/", *([root] if root else [])]
    return [
        *(web.post(path, mounts.handler("receiving.post", reads=False)) for path in paths),
        web.post(
            f"{root}/-/packages/{{project}}/{{action}}",
            mounts.handler("package_api.change", reads=False),
        ),
        web.get(f"{root}/-/changes", mounts.handler("package_api.changes")),
        web.get(f"{root}/-/snapshots", mounts.handler("snapshots.all")),
        web.post(
            f"{root}/-/snapshots/{{snapshot}}/{{action}}",
            mounts.handler("snapshots.change", reads=False),
        ),
    ]


async def _to_directory(request: web.Request) -> web.Response:
    return redirect(request, "./")


async def _without_empty_segments(request: web.Request) -> web.Response:
    """``/simple//six/`` means ``/simple/six/``: some client joined two slashes."""
    path = request.rel_url.raw_path
    start = path.index("//")
    rest = path[start:]
    return redirect(request, "../" * (rest.count("/") - 1) + _SLASHES.sub("/", rest)[1:])


async def _to_list(request: web.Request) -> web.Response:
    return redirect(request, "simple/")
