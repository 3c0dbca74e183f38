"""The indexes that are served: which index an address belongs to, and their replacement."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from functools import cached_property
from itertools import count
from operator import attrgetter
from typing import TYPE_CHECKING, Protocol

import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler
from msgspec.structs import replace

from proxy.access import Scope
from proxy.indexes import Index, LongList, listed_projects
from proxy.model import RESERVED_SEGMENTS, Moment
from proxy.web.as_of import AsOfViews, NotAnInstant, instant_of, snapshot_of, to_canonical
from proxy.web.authentication import require, require_principal
from proxy.web.files import FileHandler
from proxy.web.packages import Packages
from proxy.web.pages import ClientRefresh, SimplePages
from proxy.web.project_json import FindDocument, ProjectJson, no_document
from proxy.web.rendered_pages import RenderedPages
from proxy.web.request_state import named_project
from proxy.web.response_cache import ResponseCache

if TYPE_CHECKING:
    from proxy.publish import Publisher
    from proxy.upstream import RelayedAnswer
    from proxy.web.explain import Explain
    from proxy.web.package_api import PackageApi
    from proxy.web.relayed_uploads import RelayedUploads
    from proxy.web.snapshot_api import SnapshotApi
    from proxy.web.uploads import UploadHandler

_OTHERS = "|".join(sorted(RESERVED_SEGMENTS))
INDEX_SEGMENT = rf"/{{index:(?!(?:{_OTHERS})(?:/|\Z))[a-z0-9][a-z0-9-]{{0,62}}}}"
"""The pattern of the first segment of an address, if it names an index."""


WrapAsOf = Callable[[Index, Moment], Index]
"""An index as of a moment."""


class Shared(msgspec.Struct, frozen=True):
    """Values that the handlers of all indexes share."""

    rendered: RenderedPages
    cache: ResponseCache
    clock: Callable[[], float] = time.time
    client_refresh: ClientRefresh = "no-cache"
    as_of: WrapAsOf | None = None
    """None: there are no addresses of moments."""
    find_document: FindDocument = no_document
    site_of: FindSite = lambda path: None
    """The server to which uploads are forwarded."""
    generation: int = 0
    """Which state of the settings the indexes are of."""
    controls_access: bool = False
    """Whether principals have rights; else everybody may read."""


class UploadSite(Protocol):
    """A server to which uploads are passed on."""

    @property
    def index(self) -> str:
        """The name of the mirror of it."""

    async def send(self, headers: Mapping[str, str], body: AsyncIterator[bytes]) -> RelayedAnswer:
        """Raises ``UpstreamError``."""

    async def catch_up(self) -> None:
        """Have what it has published by now on the pages of this server. Raises ``ProxyError``."""


FindSite = Callable[[str], UploadSite | None]
"""The server to which uploads are passed on, by the path of the index, such as ``/team``."""


class Mount:
    """The handlers of one index, and those of its views as of a moment."""

    def __init__(
        self,
        index: Index,
        shared: Shared,
        moment: Moment | None = None,
        today: Mount | None = None,
        publishers: Mapping[str, Publisher] | None = None,
        path: str = "",
    ) -> None:
        """``moment`` and ``today``: of a view that the index is, and the mount of the index itself.
        ``publishers``: the targets of uploads to each path; without one for ``path``, that of the
        index, uploads are refused.
        """
        self.pages = SimplePages(
            index,
            shared.rendered,
            shared.cache,
            shared.clock,
            shared.client_refresh,
            view="" if moment is None else f"+{moment.at}/{moment.number}",
            generation=shared.generation,
        )
        self.files = FileHandler(index, shared.cache)
        self.packages = Packages(index, self.files, shared.cache)
        self.project_json = ProjectJson(index, shared.find_document, shared.clock)
        self.index = index
        self._shared = shared
        self._publishers = publishers or {}
        self._publisher = self._publishers.get(path)
        self._today = today
        self._site = shared.site_of(path)
        self._views: AsOfViews[Mount] = AsOfViews(self._view)

    @property
    def accepts_uploads(self) -> bool:
        return self._publisher is not None

    @property
    def accepting(self) -> set[str]:
        """The names of the indexes into which an upload to this address goes; empty: nowhere."""
        return {self.index.name, self._publisher.name} if self._publisher else set()

    @cached_property
    def explain(self) -> Explain:
        from proxy.web.explain import Explain  # people ask seldom, and a start is faster

        return Explain(self.index, self._shared.clock)

    @cached_property
    def receiving(self) -> UploadHandler | RelayedUploads:
        """Publishes uploads here, or passes them on."""
        if self._site is None:
            return self.uploads
        from proxy.web.relayed_uploads import RelayedUploads

        return RelayedUploads(self.index.name, self._site)

    @cached_property
    def uploads(self) -> UploadHandler:
        from proxy.web.uploads import UploadHandler  # most servers accept no uploads

        return UploadHandler(self.index.name, self._publisher)

    @cached_property
    def package_api(self) -> PackageApi:
        from proxy.web.package_api import PackageApi

        return PackageApi(self.index.name, self._publisher, self._publishers)

    @cached_property
    def snapshots(self) -> SnapshotApi:
        from proxy.web.snapshot_api import SnapshotApi

        return SnapshotApi(self._publisher)

    def at(self, moment: Moment) -> Mount:
        """The same as of a moment. Raises ``NotAnInstant`` if there are no such addresses."""
        return self._views.at(moment)

    async def of_snapshot(self, name: str) -> Mount:
        """The same as of a snapshot of the index that takes uploads. Raises ``NotAnInstant``."""
        moment = await self._publisher.moment_of(name) if self._publisher else None
        if moment is None:
            raise NotAnInstant
        return self.at(moment)

    def _view(self, moment: Moment) -> Mount:
        if self._shared.as_of is None:
            raise NotAnInstant
        view = self._shared.as_of(self.index, moment)
        return Mount(view, self._shared, moment, self)

    async def project_list(self, request: web.Request) -> web.StreamResponse:
        """The list of then where a journal knows it; else one list for all moments.

        Clients can request any number of moments, and a list may have a million names.
        """
        today = self._today
        if today and (
            not today.accepts_uploads or isinstance(await listed_projects(self.index), LongList)
        ):
            return await today.pages.projects(request)
        return await self.pages.projects(request)


class Generation:
    """The indexes of one state of the settings, and the requests that they are answering."""

    def __init__(
        self, indexes: Mapping[str, Index], shared: Shared, publishers: Mapping[str, Publisher]
    ) -> None:
        self.mounts = {
            root.strip("/"): Mount(index, shared, publishers=publishers, path=root)
            for root, index in indexes.items()
        }
        self.running = 0
        """Requests that are being answered now."""
        self.idle: asyncio.Event | None = None
        """Set when no request runs, once the generation has been replaced."""

    def ended(self) -> None:
        """One of its requests has ended after its replacement."""
        if self.idle and not self.running:
            self.idle.set()

    async def drained(self) -> None:
        """Wait until the last request has ended; no further ones begin after a replacement."""
        self.idle = asyncio.Event()
        if self.running:
            await self.idle.wait()


class Mounts:
    """The generation that answers new requests."""

    def __init__(
        self, indexes: Mapping[str, Index], shared: Shared, publishers: Mapping[str, Publisher]
    ) -> None:
        """Both by the path below which an index is served, such as ``""`` or ``/team``."""
        self._shared = shared
        self._numbers = count()
        self._current = self._generation(indexes, publishers)

    @property
    def names(self) -> list[str]:
        """The first segments of the addresses of the indexes, without that at the root."""
        return [name for name in self._current.mounts if name]

    def accepting(self) -> dict[str, set[str]]:
        """By the path of each index that takes uploads: the names by which rights know it."""
        return {
            f"/{name}" if name else "": mount.accepting
            for name, mount in self._current.mounts.items()
            if mount.accepting
        }

    @property
    def running(self) -> int:
        """Requests that the present generation is answering."""
        return self._current.running

    def replace(
        self, indexes: Mapping[str, Index], publishers: Mapping[str, Publisher]
    ) -> Generation:
        """Answer new requests from these indexes; returns the generation that is replaced.

        Each request is answered by the generation in which it began.
        """
        former, self._current = self._current, self._generation(indexes, publishers)
        return former

    def _generation(
        self, indexes: Mapping[str, Index], publishers: Mapping[str, Publisher]
    ) -> Generation:
        shared = replace(self._shared, generation=next(self._numbers))
        return Generation(indexes, shared, publishers)

    def handler(self, name: str, *, reads: bool = True) -> Handler:
        """The handler of that name, such as ``pages.page``, of the index that is addressed.

        ``reads`` as for ``answering``.
        """
        return self.answering(attrgetter(name), reads=reads)

    def answering(self, choose: Callable[[Mount], Handler], *, reads: bool = True) -> Handler:
        """A handler that answers from the index that is addressed, by the one that is chosen.

        ``reads``: the right to read is needed; else the chosen handler checks another one.
        """
        checks = reads and self._shared.controls_access

        async def handle(request: web.Request) -> web.StreamResponse:
            generation = self._current
            mount = generation.mounts.get(request.match_info.get("index", ""))
            if mount is None:
                require_principal(request)
                raise web.HTTPNotFound
            if checks:
                require(request, Scope.READ, mount.index.name, named_project(request))
            if "instant" in request.match_info:
                if name := snapshot_of(request):
                    mount = await mount.of_snapshot(name)
                else:
                    instant = instant_of(request, self._shared.clock())
                    if elsewhere := to_canonical(request, instant):
                        return elsewhere
                    mount = mount.at(Moment(instant))
            generation.running += 1
            try:
                return await choose(mount)(request)
            finally:
                generation.running -= 1
                if generation.idle:
                    generation.ended()

        return handle
