"""Says without a network whether all that is needed is held, and proves it with real tools.

What locks name, as requirements that a resolver or an installer takes. Pure.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from dataclasses import dataclass, field, replace
from itertools import count

from proxy.composition import open_proxy
from proxy.config import Settings
from proxy.distributions import Target, parse_targets, version_of
from proxy.errors import ConfigurationError
from proxy.events import Event, FileAnswered, Outcome
from proxy.model import ProjectName
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
from proxy.warm.fetch import find_missing
from proxy.warm.progress import Display


@dataclass(frozen=True, slots=True, repr=False)  # asyncio puts results into words
class Readiness:
    needs: ResolvedFiles
    missing: tuple[Missing, ...]
    installed: int = 0
    """Sets of requirements that a real installer installed."""

    @property
    def complete(self) -> bool:
        return not self.missing and not self.needs.skipped


def runs_here(target: Target) -> bool:
    """Whether this machine can use all that is made for the target."""
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
    """What of the wanted is not held; if all is, whether tools can do with it.

    ``verify``: every byte is hashed again, and what is damaged is dropped. ``install``: what is
    wanted for this machine is installed into a folder that is deleted afterwards. Opens no
    connection but to this process. Raises ``ConfigurationError``.
    """
    own = _own(file_filter) if install else None
    offline = settings.model_copy(update={"offline": True, "offline_list_all": True})
    rebuilt = _Rebuilt()
    async with open_proxy(offline) as proxy:
        proxy.events.subscribe(rebuilt)
        needs = await needed_files(proxy.index, wanted, file_filter, jobs=jobs, say=display.say)
        display.say("checking that every file is in the cache")
        unheld = await find_missing(proxy.index, proxy.cache.store, needs.files, verify=verify)
    lacking = (*needs.missing, *unheld, *rebuilt.missing(needs))
    found = {lack.line: lack for lack in lacking}
    verdict = Readiness(needs, tuple(found.values()))
    if found:
        return verdict
    lists_held = settings.model_copy(update={"offline": True, "offline_list_all": False})
    async with open_proxy(lists_held) as proxy:
        witness = RecordingIndex(proxy.index)
        async with Resolver(witness, file_filter.sdists) as resolver:
            proof = _Proof(needs, witness, resolver, display, jobs)
            await proof.resolved(file_filter)
            if own and not proof.failed:
                await proof.installed(_for(own, wanted, file_filter), own)
    lost = tuple(Missing(*lack) for lack in proof.failed.items())
    return replace(verdict, missing=lost, installed=proof.installs)


@dataclass(slots=True)
class _Rebuilt:
    """Notes what offline comes from elsewhere than the store: metadata taken out of wheels."""

    files: set[tuple[ProjectName, str]] = field(default_factory=set)

    def __call__(self, event: Event) -> None:
        if isinstance(event, FileAnswered) and event.outcome in (Outcome.MISS, Outcome.JOINED):
            self.files.add((event.project, event.filename))

    def missing(self, needs: ResolvedFiles) -> list[Missing]:
        reason = "it was not held any more; it has been taken out of the wheel anew"
        return [
            Missing(need.line, reason)
            for need in needs.files
            if (need.project, need.filename) in self.files
        ]


def _own(file_filter: FileFilter) -> Target:
    for target in file_filter.targets:
        if runs_here(target):
            return target
    here = parse_targets()[0]
    raise ConfigurationError(
        "--install", "this machine is none of the targets", f"name it too: {here}, or leave it out"
    )


def _for(own: Target, wanted: SourceRequirements, file_filter: FileFilter) -> list[ResolverInput]:
    return [one for one in wanted.requirements if own in (one.file_filter or file_filter).targets]


@dataclass(slots=True)
class _Proof:
    """Tools at work on an instance that lists what is held and nothing else."""

    needs: ResolvedFiles
    witness: RecordingIndex
    resolver: Resolver
    display: Display
    jobs: int
    failed: dict[str, str] = field(default_factory=dict)
    installs: int = 0

    async def resolved(self, file_filter: FileFilter) -> None:
        locked = [
            (asked, target)
            for target in file_filter.targets
            for asked in lock_rounds(self._without_builds(target), target)
        ]

        async def one(asked: ResolverInput, target: Target, *, dependencies: bool) -> None:
            self.display.say(f"resolving {asked.title} offline for {target}")
            work = self.resolver.resolve(asked, target, dependencies=dependencies)
            await self._try(asked, work)

        await for_each(self.needs.resolved, lambda pair: one(*pair, dependencies=True), self.jobs)
        await for_each(locked, lambda pair: one(*pair, dependencies=False), self.jobs)

    async def installed(self, resolved: Iterable[ResolverInput], own: Target) -> None:
        locked = lock_rounds(self.needs.locked, own)
        for asked in (*resolved, *locked):
            self.display.say(f"installing {asked.title} into a folder that is deleted again")
            work = self.resolver.install(asked, dependencies=asked not in locked)
            if await self._try(asked, work):
                self.installs += 1

    def _without_builds(self, target: Target) -> list[LockedVersion]:
        """Locked versions; for other machines, only those that have a wheel.

        A resolver that meets an sdist may build it, which nobody prepared for on this machine.
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

    async def _try(self, asked: ResolverInput, work: Awaitable[object]) -> bool:
        try:
            await work
        except UvFailed as error:
            reason = f"{asked.title}: {error}"
            for file in self.witness.missing_files():
                need = NeededFile(file.project, file.filename, file.digest)
                self.failed.setdefault(need.line, reason)
            names = sorted(self.witness.missing_pages) or asked.lines
            for line in names:
                self.failed.setdefault(line, reason)
            return False
        return True


def lock_rounds(locked: Iterable[LockedVersion], target: Target) -> list[ResolverInput]:
    """Every version that is locked for the target.

    A lock may hold several of one project, for extras that exclude each other: one a round.
    """
    made: list[dict[str, str]] = []
    for lock in locked:
        if lock.target != target:
            continue
        at = next(n for n in count() if n == len(made) or lock.project not in made[n])
        if at == len(made):
            made.append({})
        made[at][lock.project] = _line(lock)
    return [ResolverInput("what is locked", "".join(each.values())) for each in made]


def _line(lock: LockedVersion) -> str:
    hashes = "".join(f" --hash={each}" for each in sorted(lock.digests) if _usable(each))
    return f"{lock.project}=={lock.version}{hashes}\n"


def _usable(digest: str) -> bool:
    """Whether installers know the algorithm."""
    return digest.startswith(("sha256:", "sha384:", "sha512:"))
