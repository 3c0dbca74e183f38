"""Reading without keeping: for what a resolver has to look into before anybody wanted it here.

An index as upstream vouches for it now, asked by few at once and behind those who wait.

One run of a keep table: what is new is fetched, what is wanted is pinned.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence, Set
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from proxy.composition import PRIVATE_NAMES, Proxy, cache_folder, open_proxy
from proxy.config import Settings
from proxy.errors import NoSuchProject, ProxyError
from proxy.indexes import CheckFile, Index
from proxy.model import METADATA, PROVENANCE, Artifact, ProjectName, ProjectPage
from proxy.requirements import Missing, NeededFile, ResolvedFiles, needed_files
from proxy.runtime import for_each
from proxy.warm.fetch import NeededFetcher
from proxy.warm.keep.changes import Change, KeepState, KeepStates, compare
from proxy.warm.keep.table import FileKey, Keep, is_distribution
from proxy.warm.progress import Display


@asynccontextmanager
async def temporary_cache(settings: Settings) -> AsyncIterator[Index]:
    """The index of these settings on a temporary cache. Raises ``ConfigurationError``.

    What the lasting cache remembers as private stays private.
    """
    names = cache_folder(settings) / PRIVATE_NAMES
    with TemporaryDirectory(prefix="waystation-", ignore_cleanup_errors=True) as folder:
        if names.exists():
            shutil.copyfile(names, Path(folder, PRIVATE_NAMES))
        async with open_proxy(settings.model_copy(update={"cache_dir": Path(folder)})) as proxy:
            yield proxy.index


async def at_once() -> None:
    """Nobody else is waiting."""


class RevalidatingIndex:
    """Pages are checked with upstream once in a run, however fresh they are."""

    def __init__(
        self,
        index: Index,
        since: float,
        *,
        limit: int,
        turn: Callable[[], Awaitable[None]] = at_once,
        aside: Index | None = None,
    ) -> None:
        """``since``: Unix time in seconds."""
        self._index = index
        self._aside = aside or index
        self._since = since
        self._turn = turn
        self._slots = asyncio.Semaphore(limit)
        self.pages: dict[ProjectName, ProjectPage | None] = {}
        """Those that upstream confirmed. None: there is no such project."""
        self.unconfirmed: set[ProjectName] = set()
        """Projects of which only an older page could be had."""
        self.new: set[tuple[ProjectName, str]] = set()
        """Distributions that were not here when they, or their metadata, were asked for."""

    @property
    def name(self) -> str:
        return self._index.name

    async def projects(self) -> Set[ProjectName]:
        return await self._index.projects()

    async def page(self, project: ProjectName, checked_after: float = 0.0) -> ProjectPage:
        async with self._slots:
            await self._turn()
            try:
                page = await self._index.page(project, max(checked_after, self._since))
            except NoSuchProject:
                self.pages[project] = None
                raise
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
            await self._turn()
            asked = await self._reader(project, filename, digest, check)
            return await asked.file(project, filename, digest, check)

    async def _reader(
        self, project: ProjectName, filename: str, digest: str | None, check: CheckFile | None
    ) -> Index:
        """Metadata goes with its wheel, which has to be fetched where upstream has none."""
        owner = filename.removesuffix(METADATA).removesuffix(PROVENANCE)
        with suppress(ProxyError):  # whoever is asked will tell
            if (await self._index.file(project, owner, digest, check)).blob.needs_download:
                self.new.add((project, owner))
                return self._aside
        return self._index


NOT_STORED = "it did not stay in the cache: is the disk full or read-only?"
STORE_TIMEOUT = 5.0
"""Seconds that what has been read gets to be stored."""
STORE_POLL = 0.05
"""Seconds after which it is looked again."""

UNCONFIRMED = "upstream could not be asked whether its page is still the same"


@dataclass(frozen=True, slots=True, repr=False)  # asyncio puts results into words
class KeepResult:
    keep: Keep
    needs: ResolvedFiles = field(default_factory=ResolvedFiles)
    fetched: tuple[NeededFile, ...] = ()
    """Distributions; in a dry run those that would be."""
    missing: tuple[Missing, ...] = ()
    changes: tuple[Change, ...] = ()
    state: KeepState = KeepState()  # noqa: RUF009 (it is frozen)
    """To be remembered once the changes are told."""

    @property
    def complete(self) -> bool:
        return not self.missing and not self.needs.skipped


@dataclass(frozen=True, slots=True)
class KeepRunner:
    """Runs tables through the index of a running proxy."""

    proxy: Proxy
    display: Display
    variables: Mapping[str, str]
    """What ``${NAME}`` in sources refers to."""
    jobs: int
    """Downloads at once."""
    max_requests: int
    """Questions at once."""
    record_metadata: Callable[[Iterable[NeededFile]], Awaitable[None]]
    """Told what is held, see ``warm.remember``."""
    wait_for_turn: Callable[[], Awaitable[None]] = at_once
    """Awaited before each question and download."""
    dry_run_index: Index | None = None
    """For a dry run, which looks what there is to fetch and leaves everything as it is: reads
    what is not here, and keeps it elsewhere.
    """
    clock: Callable[[], float] = time.time

    @property
    def is_dry_run(self) -> bool:
        return self.dry_run_index is not None

    async def run(self, keep: Keep) -> KeepResult:
        """What goes wrong is in ``missing``."""
        began = self.clock()
        index = RevalidatingIndex(
            self.proxy.index,
            began,
            limit=self.max_requests,
            turn=self.wait_for_turn,
            aside=self.dry_run_index,
        )
        try:
            wanted = keep.read_sources(self.variables)
            found = await needed_files(
                index,
                wanted,
                keep.file_filter,
                keep_going=True,
                jobs=self.jobs,
                say=self.display.say,
            )
        except ProxyError as error:
            state = KeepState(
                began, (await KeepStates(self.proxy.cache.records).get(keep.owner)).files
            )
            return KeepResult(keep, missing=(Missing(str(keep), str(error)),), state=state)
        needs = keep.select(found)
        distributions = [need for need in needs.files if is_distribution(need)]
        held = await self._held(self.proxy.index, distributions)
        new = tuple(
            need
            for need in distributions
            if need not in held or (need.project, need.filename) in index.new
        )
        if self.is_dry_run:
            return KeepResult(keep, needs, new, (*needs.missing, *_unconfirmed(index)))
        return await self._fetched(keep, index, needs, new, began)

    async def _fetched(
        self,
        keep: Keep,
        index: RevalidatingIndex,
        needs: ResolvedFiles,
        new: Sequence[NeededFile],
        began: float,
    ) -> KeepResult:
        cache = self.proxy.cache
        known = (await KeepStates(cache.records).get(keep.owner)).files
        before = await cache.pins.get(keep.owner)
        await cache.pins.put(keep.owner, before | _keys(needs.files))  # none goes meanwhile
        fetching = NeededFetcher(index, cache.store, self.display, self.jobs)
        await fetching.fetch_all(needs.files)
        failed = {lack.line for lack in fetching.failed}
        had = await self._had(index, [need for need in needs.files if need.line not in failed])
        await self._ask(index, {one.project for one in known})
        files = {_ident(need): had[need] for need in had if is_distribution(need)}
        stored = await cache.store.present({one.key for one in known} - {""})
        changes, now = compare(known, files, index.pages, stored)
        gone = {one.key for one in now if not one.listed}  # these can never be had again
        await cache.pins.put(keep.owner, (gone | set(had.values())) - {""})
        await self.record_metadata(had)
        lost = [need for need in needs.files if need not in had and need.line not in failed]
        missing = (
            *needs.missing,
            *fetching.failed,
            *(Missing(need.line, NOT_STORED) for need in lost),
            *_unconfirmed(index),
        )
        fetched = tuple(need for need in new if need in had)
        return KeepResult(keep, needs, fetched, missing, tuple(changes), KeepState(began, now))

    async def _had(self, index: Index, needs: Sequence[NeededFile]) -> dict[NeededFile, str]:
        """As ``_held``, once what has just been read is stored too: that takes a moment."""
        deadline = time.monotonic() + STORE_TIMEOUT
        had = await self._held(index, needs)
        while len(had) < len(needs) and time.monotonic() < deadline:
            await asyncio.sleep(STORE_POLL)
            had |= await self._held(index, [need for need in needs if need not in had])
        return had

    async def _held(self, index: Index, needs: Iterable[NeededFile]) -> dict[NeededFile, str]:
        """Those whose bytes are here, with their keys in the store; "" for what lies elsewhere."""
        found: dict[NeededFile, str] = {}

        async def look(need: NeededFile) -> None:
            with suppress(ProxyError):
                blob = (await index.file(need.project, need.filename, need.digest)).blob
                if not blob.needs_download:
                    found[need] = blob.key or ""

        await for_each(needs, look, self.jobs)
        return found

    async def _ask(self, index: RevalidatingIndex, projects: set[ProjectName]) -> None:
        """For the pages of projects of which nothing is wanted any more."""

        async def ask(project: ProjectName) -> None:
            with suppress(ProxyError):
                await index.page(project)

        await for_each(sorted(projects - index.pages.keys()), ask, self.jobs)


def _ident(need: NeededFile) -> FileKey:
    return need.project, need.filename, need.digest


def _keys(needs: Iterable[NeededFile]) -> set[str]:
    """Of distributions, as far as their index tells."""
    return {need.digest for need in needs if is_distribution(need) and "-" not in need.digest}


def _unconfirmed(index: RevalidatingIndex) -> tuple[Missing, ...]:
    return tuple(Missing(project, UNCONFIRMED) for project in sorted(index.unconfirmed))
