"""What the resolver failed at: told line by line, and what can be had without those lines."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement

from proxy.bundle.collected import GatheredFiles
from proxy.bundle.fault import find_conflicting
from proxy.bundle.needs import NeededFile
from proxy.bundle.parallel import for_each
from proxy.bundle.resolve import Resolver
from proxy.bundle.targets import Target
from proxy.bundle.uv import UvFailed
from proxy.bundle.wants import Requirements
from proxy.bundle.witness import RecordingIndex
from proxy.bundle.witness import RequestedFile as File
from proxy.errors import ProxyError
from proxy.model import METADATA, ProjectName, normalize

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
