"""Finds the requirements that keep others from being resolved.

A resolver reports one problem for a whole set of requirements. Here smaller sets are tried until
each requirement at fault is known with its own reason, so that the others can still be resolved.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import quote

from packaging.requirements import InvalidRequirement, Requirement

from proxy.distributions import Target
from proxy.errors import ProxyError
from proxy.model import ProjectName, distribution_of, normalize
from proxy.requirements.model import Missing, NeededFile, Resolution, ResolverInput
from proxy.requirements.recording_index import RecordingIndex, RequestedFile
from proxy.requirements.resolver import Resolver, UvFailed
from proxy.runtime import for_each


@dataclass(frozen=True, slots=True)
class ConflictReport:
    missing: tuple[Missing, ...]
    unresolved: tuple[Resolution, ...]
    """As in ``ResolvedFiles``."""
    retry: tuple[Resolution, ...]
    """The failed resolutions without the requirements that are at fault."""


@dataclass(slots=True)
class ConflictSearch:
    recorder: RecordingIndex
    resolver: Resolver
    jobs: int
    keep_going: bool
    """Whether the requirements that are not at fault are resolved again."""
    _absent: dict[ProjectName, str | None] = field(default_factory=dict)
    """Why a project has no page; None: it has one."""

    async def explain(self, failed: Mapping[Resolution, UvFailed]) -> ConflictReport:
        """The files that are missing for these resolutions, and the resolutions to try instead."""
        files = self.recorder.missing_files()
        missing = [_missing_file(file, failed) for file in files]
        # A single missing file is the whole explanation of each error that names the file.
        only = files if not self.recorder.missing_pages else ()
        explained = {each for each, error in failed.items() if _names_the_file(error, only)}
        unresolved = tuple(each for each in failed if each not in explained)
        if not self.keep_going:
            failed = {each: failed[each] for each in unresolved}
        retry: dict[Resolution, None] = {}

        async def search(requirements: ResolverInput) -> None:
            suspects: set[str] = set()
            for resolution in (each for each in failed if each[0] == requirements):
                faults = await self._faults(resolution, failed[resolution], suspects)
                suspects |= faults.keys()
                if resolution not in explained:
                    missing.extend(Missing(*fault) for fault in faults.items())
                good = [line for line in requirements.lines if line not in faults]
                if good and self.keep_going:
                    retry[requirements.with_lines(good), resolution[1]] = None

        with self.recorder.paused():
            await for_each(dict.fromkeys(each for each, _ in failed), search, self.jobs)
        return ConflictReport(tuple(missing), unresolved, tuple(retry))

    async def _faults(
        self, resolution: Resolution, error: UvFailed, suspects: Collection[str]
    ) -> dict[str, str]:
        """The lines at fault, with reasons. ``suspects`` are at fault for another target."""
        requirements, target = resolution
        absent = await self._lines_without_page(requirements.lines, target)
        if not absent and self.recorder.errors:  # more attempts would meet the same errors
            reason = "\n".join((_reason(resolution, error), *self.recorder.errors.values()))
            return dict.fromkeys(requirements.lines, reason)
        found = await find_conflicting(
            requirements,
            lambda part: self.resolver.resolve(part, target),
            absent,
            suspects,
        )
        return absent | {line: _reason(resolution, each) for line, each in found.items()}

    async def _lines_without_page(self, lines: Iterable[str], target: Target) -> dict[str, str]:
        """The lines whose project has no page, with the reasons."""
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
            await self.recorder.page(project)
        except ProxyError as error:
            self._absent[project] = str(error)
        else:
            self._absent[project] = None


def _missing_file(file: RequestedFile, failed: Mapping[Resolution, UvFailed]) -> Missing:
    """The file with the error that names it, or else any of the errors."""
    resolution = max(failed, key=lambda each: _names_the_file(failed[each], [file]))
    line = NeededFile(file.project, file.filename, file.digest).line
    return Missing(line, _reason(resolution, failed[resolution]))


def _names_the_file(error: UvFailed, files: Collection[RequestedFile]) -> bool:
    """Whether there is exactly one file, and the error names it."""
    names = [distribution_of(file.filename) for file in files]
    return len(names) == 1 and (names[0] in error.output or quote(names[0]) in error.output)


def _reason(resolution: Resolution, error: UvFailed) -> str:
    requirements, target = resolution
    return f"{requirements.title}, for {target}: {error}"


def _project(line: str, target: Target) -> ProjectName | None:
    """The project that a line requires for the target; None for a local project."""
    try:
        found = Requirement(line.partition(" --")[0])
        return normalize(found.name) if target.admits(found.marker) else None
    except (InvalidRequirement, ValueError):
        return None


MAX_TRIES = 64
"""Resolver runs in one search: enough for three lines at fault among five hundred."""

Resolve = Callable[[ResolverInput], Awaitable[object]]
"""Raises ``UvFailed``."""


async def find_conflicting(
    requirements: ResolverInput,
    resolve: Resolve,
    known: Collection[str] = (),
    suspects: Collection[str] = (),
) -> dict[str, UvFailed]:
    """The lines that cannot be resolved, each with the resolver's error.

    Lines that can be resolved alone but not together share one error. Lines that are ``known``
    to be at fault are not tried; ``suspects`` are at fault if everything else can be resolved.
    """
    search = _Bisection(requirements, resolve)
    found: dict[str, UvFailed] = {}
    while True:
        rest = [line for line in requirements.lines if line not in found and line not in known]
        error = await search.error_of(rest)
        if error is None:
            return found
        likely = [line for line in rest if line in suspects]
        if likely and not await search.error_of([line for line in rest if line not in suspects]):
            found |= dict.fromkeys(likely, error)
        else:
            found |= await search.split(rest, error)


@dataclass(slots=True)
class _Bisection:
    """Halves sets of lines: a half that can be resolved has no line at fault."""

    requirements: ResolverInput
    resolve: Resolve
    tries_left: int = MAX_TRIES

    async def split(self, lines: Sequence[str], error: UvFailed) -> dict[str, UvFailed]:
        found: dict[str, UvFailed] = {}
        if len(lines) > 1:
            middle = len(lines) // 2
            for half in (lines[:middle], lines[middle:]):
                if error_of_half := await self.error_of(half):
                    found |= await self.split(half, error_of_half)
        return found or dict.fromkeys(lines, error)

    async def error_of(self, lines: Sequence[str]) -> UvFailed | None:
        """The error of resolving these lines; None also when no tries are left."""
        if not self.tries_left or not lines:
            return None
        self.tries_left -= 1
        try:
            await self.resolve(self.requirements.with_lines(lines))
        except UvFailed as error:
            return error
        return None
