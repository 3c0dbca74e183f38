"""Finished pages: rendered, compressed and tagged once per version, then only sent."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Set
from itertools import chain

import msgspec

from proxy.model import ProjectName, ProjectPage
from proxy.runtime import SingleFlight, compress_pieces, run_in_worker
from proxy.simple import MediaType

WORTH_COMPRESSING = 256
"""Bytes."""
OFFLOAD_FILES = 300
"""Files of a page from which on it is rendered off the loop."""


class RenderedPage(msgspec.Struct, frozen=True):
    """One representation of one page, ready to be sent."""

    version: str
    media: MediaType
    body: bytes
    etag: str
    """Strong, of the bytes that are sent and their form: the same after a restart."""
    encoding: str | None = None


RenderedKey = tuple[ProjectName, MediaType, bool]
Render = Callable[[ProjectPage, MediaType], Iterable[bytes]]
RenderList = Callable[[Set[ProjectName], MediaType], bytes]


class RenderedPages:
    """Keeps finished pages under a budget of bytes, the least recently used go first."""

    def __init__(self, render: Render, render_list: RenderList, budget: int = 64 * 2**20) -> None:
        self._render = render
        self._render_list = render_list
        self._budget = budget
        self._size = 0
        self._answers: OrderedDict[RenderedKey, RenderedPage] = OrderedDict()
        self._flights: SingleFlight[tuple[RenderedKey, str], RenderedPage] = SingleFlight()
        self._names: Set[ProjectName] = frozenset()
        self._lists: dict[tuple[MediaType, bool], RenderedPage] = {}

    async def get(self, page: ProjectPage, media: MediaType, gzip: bool) -> RenderedPage:
        """The page in this form; rendered now if it was not yet, once for all who ask."""
        key = (page.project, media, gzip)
        version = f"{page.source}/{page.version}"
        answer = self._answers.get(key)
        if answer and answer.version == version and page.version:
            self._answers.move_to_end(key)
            return answer
        if len(page.files) < OFFLOAD_FILES or not page.version:
            return self._keep(key, self._make(page, media, gzip, version))
        return await self._flights.do(
            (key, version), lambda: self._made_in_thread(key, page, version)
        )

    def of_list(self, names: Set[ProjectName], media: MediaType, gzip: bool) -> RenderedPage:
        """The list of all projects in this form; made anew only when they are others."""
        if names != self._names:
            self._names, self._lists = frozenset(names), {}
        if (media, gzip) not in self._lists:
            self._lists[media, gzip] = finish([self._render_list(names, media)], media, gzip)
        return self._lists[media, gzip]

    async def close(self) -> None:
        await self._flights.close()

    async def _made_in_thread(
        self, key: RenderedKey, page: ProjectPage, version: str
    ) -> RenderedPage:
        _, media, gzip = key
        answer = await run_in_worker(
            len(page.files) * 1000, lambda: self._make(page, media, gzip, version)
        )
        return self._keep(key, answer)

    def _make(self, page: ProjectPage, media: MediaType, gzip: bool, version: str) -> RenderedPage:
        return finish(self._render(page, media), media, gzip, version)

    def _keep(self, key: RenderedKey, answer: RenderedPage) -> RenderedPage:
        if former := self._answers.pop(key, None):
            self._size -= len(former.body)
        self._answers[key] = answer
        self._size += len(answer.body)
        while self._size > self._budget and len(self._answers) > 1:
            _, dropped = self._answers.popitem(last=False)
            self._size -= len(dropped.body)
        return answer


def finish(
    pieces: Iterable[bytes], media: MediaType, gzip: bool, version: str = ""
) -> RenderedPage:
    """Compress if the client takes it and it is worth it; tag it.

    Compressed piece by piece, a large page never lies in memory as a whole: to ask the system
    for so much takes as long as to render it.
    """
    pieces, start = iter(pieces), b""
    for piece in pieces:
        start += piece
        if len(start) >= WORTH_COMPRESSING:
            break
    encoding = "gzip" if gzip and len(start) >= WORTH_COMPRESSING else None
    sent = (compress_pieces if encoding else b"".join)(chain((start,), pieces))
    tag = hashlib.sha256(f"{media.content_type} {encoding} ".encode())
    tag.update(sent)  # a tenth of the bytes that it stands for, where they are many
    return RenderedPage(version, media, sent, f'"{tag.hexdigest()[:32]}"', encoding)
