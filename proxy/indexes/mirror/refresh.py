"""Decides from upstream's answer, and the stored page, which page a mirror gives.

When it is asked is in ``mirror_pages``.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import msgspec

from proxy.errors import NoSuchProject, UnreadablePage
from proxy.events import Outcome
from proxy.indexes.mirror.mirror_options import MirrorOptions
from proxy.indexes.mirror.page_cache import Freshness, LoadedPage, PageCache, freshness
from proxy.model import ProjectName, ProjectPage
from proxy.runtime import sha256_in_background
from proxy.storage import StoredPage
from proxy.upstream import NotModified, RemoteIndex, UpstreamDocument, Validators

PageResult = tuple[ProjectPage, Outcome]

DOUBT_ABSENCE = 60.0
"""Seconds between two answers "no such project" that make the mirror forget a stored page."""
DOUBT_SERIAL = 3600.0
"""Seconds after which a page with an older serial is accepted: upstream may have been rebuilt."""


class Refresh:
    """Asks upstream for a page, and keeps the answer if it can be trusted.

    One answer that looks wrong does not replace a stored page that could still be answered if
    upstream failed.
    """

    def __init__(
        self,
        name: str,
        remote: RemoteIndex,
        memory: PageCache,
        options: MirrorOptions,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._name = name
        self._remote = remote
        self._memory = memory
        self._lifetimes = options.lifetimes
        self._honour_no_store = options.honour_no_store
        self._outlives = options.outlives_upstream
        self._clock = clock

    async def __call__(
        self,
        project: ProjectName,
        known: LoadedPage | None,
        *,
        whole: bool = False,
        fence: int = 0,
    ) -> PageResult:
        """The page to answer. Raises ``NoSuchProject`` and ``UpstreamError``.

        ``whole``: ask without validators, so that an unchanged page is sent too. ``fence``: of the
        turn, see ``Turn``.
        """
        validators = None
        if known and not whole:
            head = known.head
            validators = Validators(head.etag, head.last_modified, head.serial, head.url)
        try:
            answer = await self._remote.page(project, validators)
        except NoSuchProject:
            return self._doubt_absence(project, known)
        if isinstance(answer, UpstreamDocument):
            return await self._accept(project, known, answer, fence)
        assert known is not None  # "not modified" answers only a request with validators
        return self._confirm(project, known, answer, fence)

    async def _accept(
        self,
        project: ProjectName,
        known: LoadedPage | None,
        document: UpstreamDocument,
        fence: int,
    ) -> PageResult:
        trusted = known if known and self._is_usable(known) else None
        if trusted and (since := self._older_since(trusted.head, document)):
            return self._keep_doubting(project, trusted, older_since=since)
        await self._memory.make_room(len(document.body))
        digest = sha256_in_background(document.body)
        page = await self._memory.read(project, document.url, document.content_type, document.body)
        head = self._head(document, digest(), fence)
        if trusted and _lost_every_link(trusted.page, page, head):
            # Likely a captive portal or an error page.
            raise UnreadablePage(self._name, "its page, which had files, came without a link")
        kept = self._memory.keep(project, head, await self._memory.reviewed(page))
        if document.storable or not self._honour_no_store:
            self._memory.store(project, head, document.body)
        else:
            self._memory.unstore(project, head.checked)
        if known and known.head.digest == head.digest:  # sent whole, without validators
            return kept.page, Outcome.REVALIDATED
        return kept.page, Outcome.MISS

    def _head(self, document: UpstreamDocument, digest: str, fence: int) -> StoredPage:
        # Stored for offline use; online it is fetched each time, as upstream demands.
        reusable = document.storable or self._lifetimes.minimum > 0 or self._outlives
        return StoredPage(
            url=document.url,
            content_type=document.content_type,
            checked=self._clock(),
            lifetime=document.lifetime if document.storable else 0.0,
            must_revalidate=(document.must_revalidate and not self._outlives) or not reusable,
            etag=document.etag if reusable else None,
            last_modified=document.last_modified if reusable else None,
            serial=document.serial,
            fence=fence,
            digest=digest,
        )

    def _confirm(
        self, project: ProjectName, known: LoadedPage, answer: NotModified, fence: int
    ) -> PageResult:
        head = msgspec.structs.replace(
            known.head,
            checked=self._clock(),
            lifetime=answer.lifetime,
            must_revalidate=answer.must_revalidate and not self._outlives,
            last_modified=answer.last_modified or known.head.last_modified,
            serial=answer.serial or known.head.serial,
            fence=fence or known.head.fence,
            gone_since=None,
            older_since=None,
        )
        return self._renew(project, known, head), Outcome.REVALIDATED

    def _doubt_absence(self, project: ProjectName, known: LoadedPage | None) -> PageResult:
        """One answer "no such project" for a known page may be a fault; a second is accepted."""
        now = self._clock()
        since = known.head.gone_since if known else None
        doubted = since is None or now - since < DOUBT_ABSENCE
        if known and doubted and self._is_usable(known):
            return self._keep_doubting(project, known, gone_since=since or now)
        if known:
            self._memory.forget(project, now)
        else:
            self._memory.announce_absence(project)
        raise NoSuchProject(project)

    def _keep_doubting(self, project: ProjectName, known: LoadedPage, **since: Any) -> PageResult:
        head = msgspec.structs.replace(
            known.head, checked=self._clock(), lifetime=DOUBT_ABSENCE, **since
        )
        return self._renew(project, known, head), Outcome.STALE

    def _older_since(self, head: StoredPage, document: UpstreamDocument) -> float | None:
        """Unix time since which upstream sends older serials; None to accept the document."""
        if document.serial is None or head.serial is None or document.serial >= head.serial:
            return None
        since = head.older_since or self._clock()
        return since if self._clock() - since < DOUBT_SERIAL else None

    def _renew(self, project: ProjectName, known: LoadedPage, head: StoredPage) -> ProjectPage:
        """The known page under a new head."""
        kept = self._memory.keep(project, head, known.page)
        self._memory.touch(project, head)
        return kept.page

    def _is_usable(self, known: LoadedPage) -> bool:
        state = freshness(known.head, self._clock(), self._lifetimes)
        return state is not Freshness.UNUSABLE


def _lost_every_link(before: ProjectPage, now: ProjectPage, head: StoredPage) -> bool:
    """Whether an HTML page has lost all its files without a status that says why (PEP 792)."""
    is_json = "json" in head.content_type
    return bool(before.files) and not now.files and now.status is None and not is_json
