"""Finds out what sources need: what they name, what a resolver makes of the rest, what builds it.

Shared by all commands that take sources; nothing is fetched here but what has to be read for it.

What it takes to build an sdist, as far as it says so beforehand.

What a build back end only asks for when it runs (``get_requires_for_build_wheel``, PEP 517, and
``setup_requires``) nobody can know without building.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

from proxy.errors import ProxyError
from proxy.indexes import Index
from proxy.model import File, ProjectName
from proxy.requirements.conflicts import Asked, ConflictReport
from proxy.requirements.model import (
    FileFilter,
    NeededFile,
    ResolvedFiles,
    SourceRequirements,
    joined,
)
from proxy.requirements.page_lookup import GatheredFiles, Install, PageLookup, to_be_built
from proxy.requirements.recording_index import RecordingIndex
from proxy.requirements.resolver import Resolver, UvFailed
from proxy.requirements.sources.local_projects import sdist_build
from proxy.runtime import for_each

DEFAULT_JOBS = 8
"""Questions at once, and downloads."""

Say = Callable[[str], None]
"""Told in a few words what is being done."""


async def needed(
    index: Index,
    wants: SourceRequirements,
    choice: FileFilter,
    *,
    rest: bool = False,
    jobs: int = DEFAULT_JOBS,
    say: Say = lambda _: None,
) -> ResolvedFiles:
    """What the wants come down to, by the pages that the index answers with.

    What cannot be had is in ``missing``; with ``rest``, what can be had without it is needed all
    the same. Raises ``ConfigurationError`` where something has to be resolved and nothing is
    there to do it, or it cannot do it for a target.
    """
    witness, collected = RecordingIndex(index), GatheredFiles()
    async with Resolver(witness, choice.sdists) as resolver:
        naming = PageLookup(witness, index, choice, collected, {})
        unresolved = ConflictReport(witness, collected, resolver, jobs, rest)
        gathering = _Gathering(witness, collected, naming, resolver, unresolved, jobs, say)
        await gathering.named(wants)
        await gathering.resolved(wants, choice)
    return gathering.needs(wants)


@dataclass(slots=True)
class _Gathering:
    witness: RecordingIndex
    collected: GatheredFiles
    naming: PageLookup
    resolver: Resolver
    unresolved: ConflictReport
    jobs: int
    say: Say
    asked: dict[Asked, None] = field(default_factory=dict)
    failed: dict[Asked, UvFailed] = field(default_factory=dict)
    """In this round."""
    looked_into: set[Install] = field(default_factory=set)
    builds: dict[tuple[ProjectName, str], SourceRequirements] = field(default_factory=dict)
    """By project and digest of the sdist."""

    async def named(self, wants: SourceRequirements) -> None:
        """What needs no resolver."""
        self.say("reading pages")
        groups = (wants.files, wants.versions, wants.named, wants.touched)
        await for_each(
            dict.fromkeys(one.project for group in groups for one in group), self._read, self.jobs
        )
        for file in wants.files:
            await self.naming.file(file)
        await for_each(wants.versions, self.naming.pinned, self.jobs)
        for named in wants.named:
            await self.naming.newest(named)
        for touched in wants.touched:
            await self.naming.touched(touched)

    async def resolved(self, wants: SourceRequirements, choice: FileFilter) -> None:
        """What a resolver makes of requirements, and of what builds what has to be built."""
        asked = [
            (one, target) for one in wants.requirements for target in (one.choice or choice).targets
        ]
        asked += await self._to_build()
        while asked:
            await for_each(asked, self._resolve, self.jobs)
            failed, self.failed = self.failed, {}
            asked = await self.unresolved.told(failed) if failed else []
            asked += await self._to_build()

    def needs(self, wants: SourceRequirements) -> ResolvedFiles:
        for touched, file in self.witness.files.items():
            page = self.witness.pages.get(touched.project)
            source = page.source if page else ""
            key = (touched.project, touched.filename, touched.digest)
            self.collected.add(NeededFile(*key, file.size, source))
        every = joined([wants, *self.builds.values()])
        return ResolvedFiles(
            pages=tuple(sorted(self.witness.pages)),
            files=self.collected.files,
            missing=self.collected.missing,
            skipped=every.skipped,
            notes=every.notes,
            resolved=tuple(self.asked),
            unresolved=tuple(self.unresolved.asked),
            locked=self.collected.locked,
        )

    async def _read(self, project: ProjectName) -> None:
        with suppress(ProxyError):  # whoever needs it will be told
            await self.naming.page(project)

    async def _resolve(self, asked: Asked) -> None:
        requirements, target = asked
        self.asked[asked] = None
        self.say(f"resolving {requirements.title} for {target}")
        try:
            versions = await self.resolver.resolve(requirements, target)
        except UvFailed as error:
            self.failed[asked] = error
            return
        for project, version in versions:
            await self.naming.version(project, version, target, choice=requirements.choice)

    async def _to_build(self) -> list[Asked]:
        """What is to be resolved for the sdists that have not been looked into yet."""
        fresh = {
            install: files
            for install, files in self.collected.installs.items()
            if install not in self.looked_into
        }
        self.looked_into |= fresh.keys()
        found: dict[Asked, None] = {}
        for (project, _, target), files in fresh.items():
            if sdist := to_be_built(files, target):
                wants = await self._looked_into(project, sdist)
                found |= dict.fromkeys((one, target) for one in wants.requirements)
        return [one for one in found if one not in self.asked]

    async def _looked_into(self, project: ProjectName, sdist: File) -> SourceRequirements:
        key = (project, sdist.address_digest)
        if key not in self.builds:
            self.say(f"looking into {sdist.filename}")
            try:
                self.builds[key] = await sdist_build_requirements(
                    self.naming.index, project, sdist.filename, sdist.address_digest
                )
            except ProxyError as error:
                self.builds[key] = SourceRequirements()
                line = NeededFile(project, sdist.filename, sdist.address_digest).line
                self.collected.miss(line, str(error))
        return self.builds[key]


_IN_MEMORY = 4 * 2**20


async def sdist_build_requirements(
    index: Index, project: ProjectName, filename: str, digest: str
) -> SourceRequirements:
    """The build requirements of an sdist. Raises what ``Index.file`` and its blob raise."""
    artifact = await index.file(project, filename, digest)
    with tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY) as copy:
        async for piece in artifact.blob.chunks():
            await asyncio.to_thread(copy.write, piece)
        return await asyncio.to_thread(sdist_build, copy, filename)  # type: ignore[arg-type]
