"""One run of a keep table: revalidate pages, fetch what is new, pin what is wanted."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.composition import PRIVATE_NAMES, Proxy, open_proxy
from proxy.config import Settings, cache_folder
from proxy.errors import NoSuchProject, ProxyError
from proxy.indexes import CheckFile, Explanation, Index
from proxy.model import Artifact, ProjectName, ProjectPage, distribution_of, sources_of
from proxy.requirements import Missing, NeededFile, ResolvedFiles, needed_files
from proxy.runtime import for_each
from proxy.upstream import UpstreamOrigin
from proxy.warm.fetch import FILE_NOT_STORED, PAGE_NOT_STORED, fetch_files, record_metadata
from proxy.warm.keep.changes import Change, KeepState, KeepStates, compare
from proxy.warm.keep.table import Keep, KeptFileKey, is_distribution
from proxy.warm.progress import Display

UNCONFIRMED = "upstream could not be reached to revalidate its page"
STORE_TIMEOUT = 5.0
"""Seconds until files and pages that were read must be stored."""
STORE_POLL = 0.05
"""Seconds between two looks at the store."""


@asynccontextmanager
async def temporary_cache(settings: Settings) -> AsyncIterator[Index]:
    """The index of these settings on a temporary cache. Raises ``ConfigurationError``.

    The private names of the real cache are private here too.
    """
    names = cache_folder(settings) / PRIVATE_NAMES
    with TemporaryDirectory(prefix="waystation-", ignore_cleanup_errors=True) as folder:
        if names.exists():
            shutil.copyfile(names, Path(folder, PRIVATE_NAMES))
        async with open_proxy(settings.model_copy(update={"cache_dir": Path(folder)})) as proxy:
            yield proxy.index


async def no_wait() -> None:
    """No client needs to be served first."""


class RevalidatingIndex:
    """Revalidates each page once in a run, even if it is fresh, with few requests at a time."""

    def __init__(
        self,
        index: Index,
        since: float,
        *,
        max_requests: int,
        wait_for_turn: Callable[[], Awaitable[None]] = no_wait,
        dry_run_index: Index | None = None,
    ) -> None:
        """``since``: Unix time in seconds; the others as in ``KeepRunner``."""
        self._index = index
        self._fetching_index = dry_run_index or index
        self._since = since
        self._wait_for_turn = wait_for_turn
        self._slots = asyncio.Semaphore(max_requests)
        self.pages: dict[ProjectName, ProjectPage | None] = {}
        """The pages that upstream confirmed. None: the project does not exist."""
        self.unconfirmed: set[ProjectName] = set()
        """The projects of which only an older page was available."""
        self.new: set[tuple[ProjectName, str]] = set()
        """Distributions that were not in the cache when they or their metadata were requested."""
        self.not_after: float | None = None
        """The earliest ``not_after`` of the pages."""

    @property
    def name(self) -> str:
        return self._index.name

    def unconfirmed_pages(self) -> tuple[Missing, ...]:
        return tuple(Missing(project, UNCONFIRMED) for project in sorted(self.unconfirmed))

    async def projects(self) -> Set[ProjectName]:
        return await self._index.projects()

    async def explain(self, project: ProjectName) -> Explanation:
        return await self._index.explain(project)

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        async with self._slots:
            await self._wait_for_turn()
            try:
                page = await self._index.page(project, max(checked_after, self._since))
            except NoSuchProject:
                self.pages[project] = None
                raise
        if page.not_after is not None:
            self.not_after = min(page.not_after, self.not_after or page.not_after)
        if page.checked is None or page.checked >= self._since:
            self.pages[project] = page
            self.unconfirmed.discard(project)
        else:
            self.unconfirmed.add(project)
        return page

    async def file(
        self,
        project: ProjectName,
        filename: str,
        digest: str | None = None,
        check: CheckFile | None = None,
    ) -> Artifact:
        async with self._slots:
            await self._wait_for_turn()
            index = await self._index_for(project, filename, digest, check)
            return await index.file(project, filename, digest, check)

    async def _index_for(
        self, project: ProjectName, filename: str, digest: str | None, check: CheckFile | None
    ) -> Index:
        """The index to read a file from.

        If upstream has no metadata for a new wheel, reading the metadata fetches the wheel.
        """
        owner = distribution_of(filename)
        with suppress(ProxyError):  # raised again when the file itself is requested
            if (await self._index.file(project, owner, digest, check)).blob.needs_download:
                self.new.add((project, owner))
                return self._fetching_index
        return self._index


@dataclass(frozen=True, slots=True, repr=False)  # asyncio formats results
class KeepResult:
    keep: Keep
    needs: ResolvedFiles = field(default_factory=ResolvedFiles)
    fetched: tuple[NeededFile, ...] = ()
    """Distributions; in a dry run those that would be fetched."""
    missing: tuple[Missing, ...] = ()
    changes: tuple[Change, ...] = ()
    state: KeepState = KeepState()  # noqa: RUF009 (it is frozen)
    """To be stored after the changes were written."""

    @property
    def complete(self) -> bool:
        return not self.missing and not self.needs.skipped


@dataclass(frozen=True, slots=True)
class KeepRunner:
    """Runs keep tables through the index of a running proxy."""

    proxy: Proxy
    origins: Mapping[str, UpstreamOrigin]
    """The mirrored indexes by name."""
    display: Display
    variables: Mapping[str, str]
    """The values of ``${NAME}`` in sources."""
    jobs: int
    """Concurrent downloads."""
    max_requests: int
    """Concurrent requests for pages and metadata."""
    wait_for_turn: Callable[[], Awaitable[None]] = no_wait
    """Awaited before each request, so that clients are served first."""
    dry_run_index: Index | None = None
    """In a dry run, the index that fetches what must be read: it has a cache of its own."""
    clock: Callable[[], float] = time.time

    @property
    def is_dry_run(self) -> bool:
        return self.dry_run_index is not None

    async def run(self, keep: Keep) -> KeepResult:
        """Run one table. Errors are in ``missing``."""
        started = self.clock()
        index = RevalidatingIndex(
            self.proxy.index,
            started,
            max_requests=self.max_requests,
            wait_for_turn=self.wait_for_turn,
            dry_run_index=self.dry_run_index,
        )
        try:
            found = await needed_files(
                index,
                keep.read_sources(self.variables),
                keep.file_filter,
                keep_going=True,
                jobs=self.jobs,
                say=self.display.say,
            )
        except ProxyError as error:
            previous = await KeepStates(self.proxy.cache.records).get(keep.owner)
            state = KeepState(started, index.not_after, previous.files)
            return KeepResult(keep, missing=(Missing(str(keep), str(error)),), state=state)
        needs = keep.select(found)
        new = await self._new_distributions(index, needs)
        if self.is_dry_run:
            return KeepResult(keep, needs, new, (*needs.missing, *index.unconfirmed_pages()))
        return await self._fetch(keep, index, needs, new, started)

    async def _new_distributions(
        self, index: RevalidatingIndex, needs: ResolvedFiles
    ) -> tuple[NeededFile, ...]:
        """The distributions that were not in the cache at the start of the run."""
        distributions = [need for need in needs.files if is_distribution(need)]
        cached = await self._cached(self.proxy.index, distributions)
        return tuple(
            need
            for need in distributions
            if need not in cached or (need.project, need.filename) in index.new
        )

    async def _fetch(
        self,
        keep: Keep,
        index: RevalidatingIndex,
        needs: ResolvedFiles,
        new: Sequence[NeededFile],
        started: float,
    ) -> KeepResult:
        cache = self.proxy.cache
        known = (await KeepStates(cache.records).get(keep.owner)).files
        pinned = await cache.pins.get(keep.owner)
        # Pinned first, so that nothing is evicted during the run.
        await cache.pins.put(keep.owner, pinned | _digests(needs.files))
        failed = await fetch_files(index, cache.store, needs.files, self.display, self.jobs)
        cached, not_stored = await self._stored(index, needs, {each.line for each in failed})
        await self._revalidate(index, {each.project for each in known})
        files = {_key(need): cached[need] for need in cached if is_distribution(need)}
        stored = await cache.store.present({each.key for each in known} - {""})
        changes, kept = compare(known, files, index.pages, stored)
        # Files that upstream no longer lists cannot be fetched again.
        unlisted = {each.key for each in kept if not each.listed}
        await cache.pins.put(keep.owner, (unlisted | set(cached.values())) - {""})
        await record_metadata(self.proxy, self.origins, cached)
        missing = (*needs.missing, *failed, *not_stored, *index.unconfirmed_pages())
        fetched = tuple(need for need in new if need in cached)
        state = KeepState(started, index.not_after, kept)
        return KeepResult(keep, needs, fetched, missing, tuple(changes), state)

    async def _stored(
        self, index: RevalidatingIndex, needs: ResolvedFiles, failed: Set[str]
    ) -> tuple[dict[NeededFile, str], list[Missing]]:
        """The needed files in the cache, as ``_cached``, and what is missing there.

        Files and pages are stored shortly after they were read, so that the cache may have to be
        asked more than once.
        """
        deadline = time.monotonic() + STORE_TIMEOUT
        files = {need for need in needs.files if need.line not in failed}
        pages = {project for project in needs.pages if index.pages.get(project)}
        cached: dict[NeededFile, str] = {}
        while True:
            cached |= await self._cached(index, files - cached.keys())
            pages = {each for each in pages if not await self._is_page_stored(index.pages[each])}
            if not (files - cached.keys() or pages) or time.monotonic() >= deadline:
                break
            await asyncio.sleep(STORE_POLL)
        missing = [Missing(need.line, FILE_NOT_STORED) for need in files - cached.keys()]
        missing += [Missing(project, PAGE_NOT_STORED) for project in pages]
        return cached, sorted(missing)

    async def _is_page_stored(self, page: ProjectPage | None) -> bool:
        """Whether a page of mirrored indexes is in the cache; True for other indexes."""
        for name in sources_of(page) if page else ():
            origin = self.origins.get(name)
            if page and origin:
                stored = await self.proxy.cache.pages.head(origin.namespace, page.project)
                if stored is None:
                    return False
        return True

    async def _cached(self, index: Index, needs: Iterable[NeededFile]) -> dict[NeededFile, str]:
        """The files that need no download, with their keys in the store; "" if not in the store."""
        found: dict[NeededFile, str] = {}

        async def look(need: NeededFile) -> None:
            with suppress(ProxyError):
                blob = (await index.file(need.project, need.filename, need.digest)).blob
                if not blob.needs_download:
                    found[need] = blob.key or ""

        await for_each(needs, look, self.jobs)
        return found

    async def _revalidate(self, index: RevalidatingIndex, projects: set[ProjectName]) -> None:
        """Revalidate the pages of kept projects of which nothing is wanted any more."""

        async def revalidate(project: ProjectName) -> None:
            with suppress(ProxyError):
                await index.page(project)

        await for_each(sorted(projects - index.pages.keys()), revalidate, self.jobs)


def _key(need: NeededFile) -> KeptFileKey:
    return need.project, need.filename, need.digest


def _digests(needs: Iterable[NeededFile]) -> set[str]:
    """The sha256 digests of the distributions whose page names one."""
    return {need.digest for need in needs if is_distribution(need) and "-" not in need.digest}
