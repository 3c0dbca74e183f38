"""``ready``: whether the cache has everything that sources need, without using the network.

If it has, a resolver and, on request, an installer must succeed with the cache alone.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count

from proxy.composition import open_proxy
from proxy.config import Settings
from proxy.distributions import Target, parse_targets, version_of
from proxy.errors import ConfigurationError
from proxy.requirements import (
    DEFAULT_JOBS,
    FileFilter,
    LockedVersion,
    Missing,
    NeededFile,
    RecordingIndex,
    ResolvedFiles,
    Resolver,
    ResolverInput,
    SourceRequirements,
    UvFailed,
    needed_files,
)
from proxy.runtime import for_each
from proxy.warm.fetch import FetchedFiles, find_missing
from proxy.warm.progress import Display


@dataclass(frozen=True, slots=True, repr=False)  # asyncio formats results
class Readiness:
    needs: ResolvedFiles
    missing: tuple[Missing, ...]
    installed: int = 0
    """Sets of requirements that were installed for the check."""

    @property
    def complete(self) -> bool:
        return not self.missing and not self.needs.skipped


def runs_here(target: Target) -> bool:
    """Whether this machine can use every file for the target."""
    return set(target.tags()) <= set(parse_targets()[0].tags())


async def ready(
    settings: Settings,
    wanted: SourceRequirements,
    file_filter: FileFilter,
    display: Display,
    *,
    verify: bool = False,
    install: bool = False,
    jobs: int = DEFAULT_JOBS,
) -> Readiness:
    """The files that are missing in the cache; without any, whether real tools succeed with it.

    ``verify``: every byte is hashed, and damaged files are deleted. ``install``: what is wanted
    for this machine is installed into a temporary folder. Opens connections only to this
    process. Raises ``ConfigurationError``.
    """
    own = _own(file_filter) if install else None
    offline = settings.model_copy(update={"offline": True, "offline_list_all": True})
    fetched = FetchedFiles()
    async with open_proxy(offline) as proxy:
        proxy.events.subscribe(fetched)
        needs = await needed_files(proxy.index, wanted, file_filter, jobs=jobs, say=display.say)
        display.say("checking that every file is in the cache")
        unavailable = await find_missing(proxy.index, proxy.cache.store, needs.files, verify=verify)
    every = (*needs.missing, *unavailable, *_recomputed(needs, fetched))
    missing = {each.line: each for each in every}
    readiness = Readiness(needs, tuple(missing.values()))
    if missing:
        return readiness
    cached_only = settings.model_copy(update={"offline": True, "offline_list_all": False})
    async with open_proxy(cached_only) as proxy:
        recorder = RecordingIndex(proxy.index)
        async with Resolver(recorder, file_filter.sdists) as resolver:
            proof = _Proof(needs, recorder, resolver, display, jobs)
            await proof.resolve(file_filter)
            if own and not proof.failed:
                await proof.install(_for(own, wanted, file_filter), own)
    failed = tuple(Missing(*each) for each in proof.failed.items())
    return replace(readiness, missing=failed, installed=proof.installs)


def _recomputed(needs: ResolvedFiles, fetched: FetchedFiles) -> list[Missing]:
    """The metadata that had to be extracted from its wheel: offline, nothing else is fetched."""
    reason = "it was missing in the cache and was extracted from the wheel again"
    return [
        Missing(need.line, reason)
        for need in needs.files
        if (need.project, need.filename) in fetched.files
    ]


def _own(file_filter: FileFilter) -> Target:
    for target in file_filter.targets:
        if runs_here(target):
            return target
    here = parse_targets()[0]
    raise ConfigurationError(
        "--install",
        "this machine is not one of the targets",
        f"add the target {here}, or omit --install",
    )


def _for(own: Target, wanted: SourceRequirements, file_filter: FileFilter) -> list[ResolverInput]:
    return [one for one in wanted.requirements if own in (one.file_filter or file_filter).targets]


@dataclass(slots=True)
class _Proof:
    """Runs real tools on an offline proxy that lists only the files in its cache."""

    needs: ResolvedFiles
    recorder: RecordingIndex
    resolver: Resolver
    display: Display
    jobs: int
    failed: dict[str, str] = field(default_factory=dict)
    installs: int = 0

    async def resolve(self, file_filter: FileFilter) -> None:
        locked = [
            (requirements, target)
            for target in file_filter.targets
            for requirements in lock_rounds(self._without_builds(target), target)
        ]

        async def one(requirements: ResolverInput, target: Target, *, dependencies: bool) -> None:
            self.display.say(f"resolving {requirements.title} offline for {target}")
            work = self.resolver.resolve(requirements, target, dependencies=dependencies)
            await self._try(requirements, work)

        await for_each(self.needs.resolved, lambda pair: one(*pair, dependencies=True), self.jobs)
        await for_each(locked, lambda pair: one(*pair, dependencies=False), self.jobs)

    async def install(self, resolved: Iterable[ResolverInput], own: Target) -> None:
        locked = lock_rounds(self.needs.locked, own)
        for requirements in (*resolved, *locked):
            self.display.say(f"installing {requirements.title} into a temporary folder")
            work = self.resolver.install(requirements, dependencies=requirements not in locked)
            if await self._try(requirements, work):
                self.installs += 1

    def _without_builds(self, target: Target) -> list[LockedVersion]:
        """Locked versions; for another machine, only those with a wheel.

        A resolver may build an sdist, and this machine need not have what the build requires.
        """
        wheels = {
            (need.project, version_of(need.filename, need.project))
            for need in self.needs.files
            if need.filename.endswith(".whl") and target.fits(need.filename)
        }
        here = runs_here(target)
        return [
            lock for lock in self.needs.locked if here or (lock.project, lock.version) in wheels
        ]

    async def _try(self, requirements: ResolverInput, work: Awaitable[object]) -> bool:
        try:
            await work
        except UvFailed as error:
            reason = f"{requirements.title}: {error}"
            for file in self.recorder.missing_files():
                need = NeededFile(file.project, file.filename, file.digest)
                self.failed.setdefault(need.line, reason)
            names = sorted(self.recorder.missing_pages) or requirements.lines
            for line in names:
                self.failed.setdefault(line, reason)
            return False
        return True


def lock_rounds(locked: Iterable[LockedVersion], target: Target) -> list[ResolverInput]:
    """The versions that are locked for the target, as requirements for a resolver.

    A lock file may have several versions of a project, for extras that exclude each other;
    each round has at most one of them.
    """
    rounds: list[dict[str, str]] = []
    for lock in locked:
        if lock.target != target:
            continue
        at = next(n for n in count() if n == len(rounds) or lock.project not in rounds[n])
        if at == len(rounds):
            rounds.append({})
        rounds[at][lock.project] = _line(lock)
    return [ResolverInput("locked versions", "".join(each.values())) for each in rounds]


def _line(lock: LockedVersion) -> str:
    hashes = "".join(f" --hash={each}" for each in sorted(lock.digests) if _usable(each))
    return f"{lock.project}=={lock.version}{hashes}\n"


def _usable(digest: str) -> bool:
    """Whether installers support the algorithm."""
    return digest.startswith(("sha256:", "sha384:", "sha512:"))
