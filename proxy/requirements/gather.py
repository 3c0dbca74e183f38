"""Finds the pages and files that sources need.

Files, versions and names are looked up on pages; requirements are resolved; and the build
requirements that sdists declare are resolved too, until nothing new is needed. Only the files
that must be read for this are fetched. Requirements that a build back end computes while it runs
(``get_requires_for_build_wheel`` of PEP 517, ``setup_requires``) cannot be known beforehand.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field, replace

from proxy.errors import ProxyError
from proxy.indexes import Index
from proxy.model import File, ProjectName
from proxy.requirements.conflicts import ConflictSearch
from proxy.requirements.model import (
    FileFilter,
    LockedVersion,
    Missing,
    NeededFile,
    Resolution,
    ResolvedFiles,
    SourceRequirements,
    merge_requirements,
)
from proxy.requirements.page_lookup import Install, LookupResult, PageLookup, sdist_to_build
from proxy.requirements.recording_index import RecordingIndex
from proxy.requirements.refused_files import with_refusals
from proxy.requirements.resolver import Resolver, UvFailed
from proxy.requirements.sources.local_projects import archive_build_requirements
from proxy.runtime import for_each

DEFAULT_JOBS = 8
"""Concurrent requests and downloads."""

Say = Callable[[str], None]
"""Called with a few words for each step."""

_MAX_SDIST_IN_MEMORY = 4 * 2**20
"""Bytes; larger sdists are read through a temporary file."""


async def needed_files(
    index: Index,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    *,
    keep_going: bool = False,
    jobs: int = DEFAULT_JOBS,
    say: Say = lambda _: None,
) -> ResolvedFiles:
    """Everything that the requirements need, according to the pages of the index.

    ``missing`` lists what is not available. Requirements that are resolved together fail
    together; with ``keep_going``, the requirements without a fault are resolved again on their
    own. Raises ``ConfigurationError`` if a resolver is needed and is not installed, or does not
    support a target.
    """
    recorder = RecordingIndex(index)
    async with Resolver(recorder, file_filter.sdists) as resolver:
        gathering = _Gathering(
            recorder,
            PageLookup(recorder, index, file_filter),
            resolver,
            ConflictSearch(recorder, resolver, jobs, keep_going),
            jobs,
            say,
        )
        await gathering.look_up(wanted)
        await gathering.resolve(
            (each, target)
            for each in wanted.requirements
            for target in (each.file_filter or file_filter).targets
        )
    found = gathering.result(wanted)
    missing = await with_refusals(index, found.missing, recorder.pages.keys())
    return replace(found, missing=missing)


@dataclass(slots=True)
class _Found:
    """All that was found so far, without duplicates."""

    files: dict[tuple[ProjectName, str, str], NeededFile] = field(default_factory=dict)
    missing: dict[str, Missing] = field(default_factory=dict)
    installs: dict[Install, list[File]] = field(default_factory=dict)
    """For each version to install, the files from which it can be installed."""
    locked: dict[Install, frozenset[str]] = field(default_factory=dict)
    """Digests as in ``LockedVersion``."""

    def add(self, found: LookupResult) -> None:
        self.add_files(found.files)
        self.add_missing(found.missing)
        for install, files in found.installs:
            self.installs.setdefault(install, []).extend(files)
        for lock in found.locked:
            install = (lock.project, lock.version, lock.target)
            self.locked[install] = self.locked.get(install, frozenset()) | lock.digests

    def add_files(self, files: Iterable[NeededFile]) -> None:
        for each in files:
            self.files.setdefault((each.project, each.filename, each.digest), each)

    def add_missing(self, missing: Iterable[Missing]) -> None:
        for each in missing:
            self.missing.setdefault(each.line, each)


@dataclass(slots=True)
class _Gathering:
    recorder: RecordingIndex
    lookup: PageLookup
    resolver: Resolver
    conflicts: ConflictSearch
    jobs: int
    say: Say
    found: _Found = field(default_factory=_Found)
    resolved: dict[Resolution, None] = field(default_factory=dict)
    unresolved: dict[Resolution, None] = field(default_factory=dict)
    searched: set[Install] = field(default_factory=set)
    """The versions that were searched for sdists to build."""
    builds: dict[tuple[ProjectName, str], SourceRequirements] = field(default_factory=dict)
    """Build requirements by project and digest of the sdist."""

    async def look_up(self, wanted: SourceRequirements) -> None:
        """Find what needs no resolver."""
        self.say("reading pages")
        groups = (wanted.files, wanted.versions, wanted.latest, wanted.requests)
        projects = dict.fromkeys(each.project for group in groups for each in group)
        await for_each(projects, self._preload, self.jobs)
        await self._add_each(map(self.lookup.pinned_file, wanted.files))
        await self._add_each(map(self.lookup.pinned_version, wanted.versions), self.jobs)
        await self._add_each(map(self.lookup.latest_versions, wanted.latest))
        await self._add_each(map(self.lookup.logged_request, wanted.requests))

    async def resolve(self, resolutions: Iterable[Resolution]) -> None:
        """Find what the requirements come to, and their build requirements."""
        waiting = [*resolutions, *await self._new_builds()]
        while waiting:
            failed = await self._resolve_all(waiting)
            waiting = []
            if failed:
                found = await self.conflicts.explain(failed)
                self.found.add_missing(found.missing)
                self.unresolved |= dict.fromkeys(found.unresolved)
                waiting += found.retry
            waiting += await self._new_builds()

    def result(self, wanted: SourceRequirements) -> ResolvedFiles:
        found = self.found
        found.add_files(self._recorded_files())
        every = merge_requirements([wanted, *self.builds.values()])
        return ResolvedFiles(
            pages=tuple(sorted(self.recorder.pages)),
            files=tuple(sorted(found.files.values(), key=lambda each: each.line)),
            missing=tuple(found.missing.values()),
            skipped=every.skipped,
            notes=every.notes,
            resolved=tuple(self.resolved),
            unresolved=tuple(self.unresolved),
            locked=tuple(LockedVersion(*key, digests) for key, digests in found.locked.items()),
        )

    def _recorded_files(self) -> Iterable[NeededFile]:
        """The files that the resolver read."""
        for requested, file in self.recorder.files.items():
            page = self.recorder.pages.get(requested.project)
            key = (requested.project, requested.filename, requested.digest)
            yield NeededFile(*key, file.size, page.source if page else "")

    async def _preload(self, project: ProjectName) -> None:
        with suppress(ProxyError):  # reported by the lookup that needs the page
            await self.lookup.page(project)

    async def _add_each(self, lookups: Iterable[Awaitable[LookupResult]], jobs: int = 1) -> None:
        async def add(lookup: Awaitable[LookupResult]) -> None:
            self.found.add(await lookup)

        await for_each(lookups, add, jobs)

    async def _resolve_all(self, resolutions: Iterable[Resolution]) -> dict[Resolution, UvFailed]:
        """The resolutions that failed, with their errors."""
        failed: dict[Resolution, UvFailed] = {}

        async def one(resolution: Resolution) -> None:
            try:
                await self._resolve(resolution)
            except UvFailed as error:
                failed[resolution] = error

        await for_each(resolutions, one, self.jobs)
        return failed

    async def _resolve(self, resolution: Resolution) -> None:
        """Raises ``UvFailed``."""
        requirements, target = resolution
        self.resolved[resolution] = None
        self.say(f"resolving {requirements.title} for {target}")
        for project, version in await self.resolver.resolve(requirements, target):
            found = await self.lookup.version(
                project, version, target, file_filter=requirements.file_filter
            )
            self.found.add(found)

    async def _new_builds(self) -> list[Resolution]:
        """The build requirements of the sdists that were found since the last call."""
        new = {
            install: files
            for install, files in self.found.installs.items()
            if install not in self.searched
        }
        self.searched |= new.keys()
        found: dict[Resolution, None] = {}
        for (project, _, target), files in new.items():
            if sdist := sdist_to_build(files, target):
                build = await self._build_requirements(project, sdist)
                found |= dict.fromkeys((each, target) for each in build.requirements)
        return [each for each in found if each not in self.resolved]

    async def _build_requirements(self, project: ProjectName, sdist: File) -> SourceRequirements:
        key = (project, sdist.address_digest)
        if key not in self.builds:
            self.say(f"reading the build requirements of {sdist.filename}")
            try:
                self.builds[key] = await read_build_requirements(
                    self.recorder, project, sdist.filename, sdist.address_digest
                )
            except ProxyError as error:
                self.builds[key] = SourceRequirements()
                line = NeededFile(project, sdist.filename, sdist.address_digest).line
                self.found.add_missing([Missing(line, str(error))])
        return self.builds[key]


async def read_build_requirements(
    index: Index, project: ProjectName, filename: str, digest: str
) -> SourceRequirements:
    """The build requirements of an sdist. Raises what ``Index.file`` and its blob raise."""
    artifact = await index.file(project, filename, digest)
    with tempfile.SpooledTemporaryFile(max_size=_MAX_SDIST_IN_MEMORY) as copy:
        async for piece in artifact.blob.chunks():
            await asyncio.to_thread(copy.write, piece)
        return await asyncio.to_thread(archive_build_requirements, copy, filename)  # type: ignore[arg-type]
