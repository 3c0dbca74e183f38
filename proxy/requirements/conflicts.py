"""What the resolver failed at: told line by line, and what can be had without those lines.

Which of several requirements are at fault where all together cannot be resolved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement

from proxy.distributions import Target
from proxy.errors import ProxyError
from proxy.model import METADATA, ProjectName, normalize
from proxy.requirements.model import NeededFile, Requirements
from proxy.requirements.page_lookup import GatheredFiles
from proxy.requirements.recording_index import RecordingIndex
from proxy.requirements.recording_index import RequestedFile as File
from proxy.requirements.resolver import Resolver, UvFailed
from proxy.runtime import for_each

Asked = tuple[Requirements, Target]


@dataclass(slots=True)
class ConflictReport:
    witness: RecordingIndex
    collected: GatheredFiles
    resolver: Resolver
    jobs: int
    rest: bool
    """Whether what is not at fault is wanted all the same."""
    asked: dict[Asked, None] = field(default_factory=dict)
    """As ``Needs.unresolved``."""
    _absent: dict[ProjectName, str | None] = field(default_factory=dict)
    """Why the page of a project cannot be had; None: it can."""

    async def told(self, failed: Mapping[Asked, UvFailed]) -> list[Asked]:
        """What is to be resolved instead. What is missing is collected."""
        files = self.witness.missed_files()
        for file in files:
            about = max(failed, key=lambda asked: _explained(failed[asked], [file]))
            line = NeededFile(file.project, file.filename, file.digest).line
            self.collected.miss(line, _reason(about, failed[about]))
        # The file that was not there tells all, if it is but one.
        only = files if not self.witness.missed_pages else ()
        told = {asked for asked, error in failed.items() if _explained(error, only)}
        self.asked |= dict.fromkeys(asked for asked in failed if asked not in told)
        if not self.rest:
            failed = {asked: error for asked, error in failed.items() if asked not in told}
        with self.witness.paused():
            return await self._instead(failed, told)

    async def _instead(
        self, failed: Mapping[Asked, UvFailed], told: Collection[Asked]
    ) -> list[Asked]:
        """``told``: of these it is known why."""
        instead: dict[Asked, None] = {}

        async def look(requirements: Requirements) -> None:
            suspects: set[str] = set()
            for asked in (one for one in failed if one[0] == requirements):
                faults = await self._faults(asked, failed[asked], suspects)
                suspects |= faults.keys()
                for line, reason in faults.items() if asked not in told else ():
                    self.collected.miss(line, reason)
                good = [line for line in requirements.lines if line not in faults]
                if good and self.rest:
                    instead[requirements.only(good), asked[1]] = None

        await for_each(dict.fromkeys(requirements for requirements, _ in failed), look, self.jobs)
        return list(instead)

    async def _faults(
        self, asked: Asked, error: UvFailed, suspects: Collection[str]
    ) -> dict[str, str]:
        """Lines that cannot be had, and why. ``suspects`` are those of other targets."""
        requirements, target = asked
        absent = await self._without_page(requirements.lines, target)
        if not absent and self.witness.troubles:  # to ask again and again would not help
            told = "\n".join((_reason(asked, error), *self.witness.troubles.values()))
            return dict.fromkeys(requirements.lines, told)
        found = await find_conflicting(
            requirements,
            lambda part: self.resolver.resolve(part, target),
            absent,
            suspects,
        )
        return absent | {line: _reason(asked, said) for line, said in found.items()}

    async def _without_page(self, lines: Iterable[str], target: Target) -> dict[str, str]:
        projects = {line: _project(line, target) for line in lines}
        await for_each(
            dict.fromkeys(p for p in projects.values() if p and p not in self._absent),
            self._look_for,
            self.jobs,
        )
        reasons = {line: self._absent[p] if p else None for line, p in projects.items()}
        return {line: reason for line, reason in reasons.items() if reason}

    async def _look_for(self, project: ProjectName) -> None:
        try:
            await self.witness.page(project)
        except ProxyError as error:
            self._absent[project] = str(error)
        else:
            self._absent[project] = None


def _explained(error: UvFailed, files: Collection[File]) -> bool:
    """Whether it is about the one file."""
    names = [file.filename.removesuffix(METADATA) for file in files]
    return len(names) == 1 and (names[0] in error.told or quote(names[0]) in error.told)


def _reason(asked: Asked, error: UvFailed) -> str:
    requirements, target = asked
    return f"{requirements.title}, for {target}: {error}"


def _project(line: str, target: Target) -> ProjectName | None:
    """What a line requires there; None for a local project."""
    try:
        found = Requirement(line.partition(" --")[0])
        return normalize(found.name) if target.admits(found.marker) else None
    except (InvalidRequirement, ValueError):
        return None


MAX_TRIES = 64
"""Questions to the resolver, at most: enough for three at fault among five hundred."""

Resolve = Callable[[Requirements], Awaitable[object]]
"""Raises ``UvFailed``."""


async def find_conflicting(
    asked: Requirements,
    resolve: Resolve,
    known: Collection[str] = (),
    suspects: Collection[str] = (),
) -> dict[str, UvFailed]:
    """The lines that cannot be resolved, each with what the resolver says of it.

    Those that can be had alone, but not together, share what it says of them. Lines that are
    ``known`` to be at fault are left out; ``suspects`` are if the rest can be resolved.
    """
    search = _Search(asked, resolve)
    found: dict[str, UvFailed] = {}
    while True:
        rest = [line for line in asked.lines if line not in found and line not in known]
        error = await search.tried(rest)
        if error is None:
            return found
        likely = [line for line in rest if line in suspects]
        if likely and not await search.tried([line for line in rest if line not in suspects]):
            found |= dict.fromkeys(likely, error)
        else:
            found |= await search.among(rest, error)


@dataclass(slots=True)
class _Search:
    """By halves: of lines that can be resolved none is at fault, however many they are."""

    asked: Requirements
    resolve: Resolve
    left: int = MAX_TRIES

    async def among(self, lines: Sequence[str], error: UvFailed) -> dict[str, UvFailed]:
        found: dict[str, UvFailed] = {}
        if len(lines) > 1:
            middle = len(lines) // 2
            for half in (lines[:middle], lines[middle:]):
                if worse := await self.tried(half):
                    found |= await self.among(half, worse)
        return found or dict.fromkeys(lines, error)

    async def tried(self, lines: Sequence[str]) -> UvFailed | None:
        """What is wrong with these; nothing also where no more may be asked."""
        if not self.left or not lines:
            return None
        self.left -= 1
        try:
            await self.resolve(self.asked.only(lines))
        except UvFailed as error:
            return error
        return None
