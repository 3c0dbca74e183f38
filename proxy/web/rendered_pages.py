"""Rendered pages: rendered, compressed and tagged once per version, then only sent."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Set
from itertools import chain

import msgspec
from cachetools import LRUCache

from proxy.indexes import LongList
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import SingleFlight, compress_pieces, run_in_worker
from proxy.simple import MediaType

MIN_COMPRESSED = 256
"""Bytes of the smallest page that is compressed."""
OFFLOAD_FILES = 300
"""Files of the smallest page that is rendered in the worker thread."""


class RenderedPage(msgspec.Struct, frozen=True):
    """One representation of one page, ready to be sent."""

    version: str
    media: MediaType
    body: bytes
    etag: str
    """Strong: of the bytes that are sent and their form, so the same after a restart."""
    encoding: str | None = None


RenderedKey = tuple[str, ProjectName, MediaType, bool]
"""The name of the index, the project, the form, and whether it is compressed."""
RenderPage = Callable[[ProjectPage, MediaType], Iterable[bytes]]
RenderList = Callable[[Iterable[ProjectName], MediaType, bool], Iterable[bytes]]
"""Gets sorted names, and whether all that upstreams list are among them."""
COST_OF_LONG_LIST = 64 * 2**20
"""The cost of rendering one, in bytes of input as ``run_in_worker`` counts them."""


class RenderedPages:
    """Keeps rendered pages of all indexes within a budget; the least recently used go first."""

    def __init__(
        self, render_page: RenderPage, render_list: RenderList, budget: int = 64 * 2**20
    ) -> None:
        """``budget``: bytes of all bodies; a larger page is kept alone."""
        self._render_page = render_page
        self._render_list = render_list
        self._pages: LRUCache[RenderedKey, RenderedPage]
        self._pages = LRUCache(budget, getsizeof=lambda page: min(len(page.body), budget))
        self._flights: SingleFlight[tuple[RenderedKey, str], RenderedPage] = SingleFlight()
        self._names: dict[str, Set[ProjectName]] = {}
        self._lists: dict[tuple[str, MediaType, bool], RenderedPage] = {}
        self._long: dict[tuple[str, MediaType], tuple[tuple[object, ...], RenderedPage]] = {}
        self._long_flights: SingleFlight[tuple[object, ...], RenderedPage] = SingleFlight()

    async def of_page(
        self, index: str, page: ProjectPage, media: MediaType, gzip: bool
    ) -> RenderedPage:
        """The index's page in this form; requests that come while it is rendered share it."""
        key = (index, page.project, media, gzip)
        version = f"{page.source}/{page.version}"
        found = self._pages.get(key)
        if found and found.version == version and page.version:
            return found
        if len(page.files) < OFFLOAD_FILES or not page.version:
            return self._keep(key, self._render(page, media, gzip, version))
        return await self._flights.do(
            (key, version), lambda: self._render_in_worker(key, page, version)
        )

    def of_list(
        self, index: str, names: Set[ProjectName], media: MediaType, gzip: bool
    ) -> RenderedPage:
        """The index's list of projects in this form; rendered again only when names differ."""
        if names != self._names.get(index):
            self._names[index] = frozenset(names)
            self._lists = {key: page for key, page in self._lists.items() if key[0] != index}
        key = (index, media, gzip)
        if key not in self._lists:
            pieces = self._render_list(sorted(names), media, False)
            self._lists[key] = finish(pieces, media, gzip)
        return self._lists[key]

    async def of_long_list(
        self, index: str, names: LongList, media: MediaType, generation: int = 0
    ) -> RenderedPage:
        """The list of a million names, compressed if long: rendered again only when they differ.

        ``generation``: in another one, other rules may be in force for the same names.
        """
        version, known = (generation, *names.version), self._long.get((index, media))
        if known and known[0] == version:
            return known[1]

        async def render() -> RenderedPage:
            page = await self.render_long_list(names, media)
            self._long[index, media] = version, page
            return page

        return await self._long_flights.do((index, media, version), render)

    async def render_long_list(self, names: LongList, media: MediaType) -> RenderedPage:
        """Render the list in a worker, without all names in memory."""
        return await run_in_worker(
            COST_OF_LONG_LIST,
            lambda: finish(self._render_list(names, media, True), media, gzip=True),
        )

    async def close(self) -> None:
        await self._flights.close()
        await self._long_flights.close()

    async def _render_in_worker(
        self, key: RenderedKey, page: ProjectPage, version: str
    ) -> RenderedPage:
        *_, media, gzip = key
        rendered = await run_in_worker(
            len(page.files) * 1000, lambda: self._render(page, media, gzip, version)
        )
        return self._keep(key, rendered)

    def _render(
        self, page: ProjectPage, media: MediaType, gzip: bool, version: str
    ) -> RenderedPage:
        return finish(self._render_page(page, media), media, gzip, version)

    def _keep(self, key: RenderedKey, page: RenderedPage) -> RenderedPage:
        self._pages[key] = page
        return page


def finish(
    pieces: Iterable[bytes], media: MediaType, gzip: bool, version: str = ""
) -> RenderedPage:
    """Compress the pieces, where the client accepts that and they are large enough, and tag them.

    Compressed piece by piece, a large page is never in memory as a whole: to get so much memory
    from the system takes as long as to render the page.
    """
    pieces, start = iter(pieces), b""
    for piece in pieces:
        start += piece
        if len(start) >= MIN_COMPRESSED:
            break
    encoding = "gzip" if gzip and len(start) >= MIN_COMPRESSED else None
    sent = (compress_pieces if encoding else b"".join)(chain((start,), pieces))
    tag = hashlib.sha256(f"{media.content_type} {encoding} ".encode())
    tag.update(sent)  # of the compressed bytes, which are a tenth
    return RenderedPage(version, media, sent, f'"{tag.hexdigest()[:32]}"', encoding)
