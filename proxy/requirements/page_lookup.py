"""Looks up on project pages the files that sources name, without a resolver.

Sources name exact files, versions with digests, the newest versions of a project, and requests
of an access log. Each lookup returns what it found and what is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from proxy.distributions import Target, version_of
from proxy.errors import NoSuchFile, ProxyError
from proxy.indexes import Index
from proxy.model import METADATA, PROVENANCE, File, ProjectName, ProjectPage, distribution_of
from proxy.requirements.model import (
    SDIST_SUFFIXES,
    FileFilter,
    LatestVersions,
    LockedVersion,
    LoggedRequest,
    Missing,
    NeededFile,
    PinnedFile,
    PinnedVersion,
)
from proxy.upstream import computed

Install = tuple[ProjectName, str, Target]
"""A version that is installed on a target."""


@dataclass(frozen=True, slots=True)
class LookupResult:
    files: tuple[NeededFile, ...] = ()
    missing: tuple[Missing, ...] = ()
    installs: tuple[tuple[Install, tuple[File, ...]], ...] = ()
    """For each version to install, the files from which it can be installed."""
    locked: tuple[LockedVersion, ...] = ()


def merge_results(results: Iterable[LookupResult]) -> LookupResult:
    every = tuple(results)
    return LookupResult(
        files=tuple(chain.from_iterable(each.files for each in every)),
        missing=tuple(chain.from_iterable(each.missing for each in every)),
        installs=tuple(chain.from_iterable(each.installs for each in every)),
        locked=tuple(chain.from_iterable(each.locked for each in every)),
    )


@dataclass(slots=True)
class PageLookup:
    index: Index
    unrecorded: Index
    """The same index without recording: files that are read only to hash them are not needed."""
    file_filter: FileFilter
    _pages: dict[ProjectName, ProjectPage | ProxyError] = field(default_factory=dict)

    async def page(self, project: ProjectName) -> ProjectPage:
        """The page; read from the index once. Raises as ``Index.page``."""
        if project not in self._pages:
            try:
                self._pages[project] = await self.index.page(project)
            except ProxyError as error:
                self._pages[project] = error
        found = self._pages[project]
        if isinstance(found, ProxyError):
            raise found
        return found

    async def pinned_file(self, pinned: PinnedFile) -> LookupResult:
        """The file with these bytes, even if the page no longer lists it."""
        unlisted = File(pinned.filename, "", pinned.hashes)
        needed = NeededFile(pinned.project, pinned.filename, unlisted.address_digest)
        try:
            page = await self.page(pinned.project)
        except ProxyError as error:
            return LookupResult(missing=(Missing(needed.line, str(error)),))
        file = _listed(page, unlisted)
        compared = file.hashes.keys() & pinned.hashes.keys()
        files = with_siblings(page, file, {} if compared else pinned.hashes)
        installs = [(pinned.project, pinned.version, target) for target in pinned.targets]
        digests = frozenset(f"{name}:{digest}" for name, digest in pinned.hashes.items())
        return LookupResult(
            files=(needed,) if file is unlisted else files,
            installs=tuple((install, (file,)) for install in installs),
            locked=tuple(LockedVersion(*install, digests) for install in installs),
        )

    async def pinned_version(self, pinned: PinnedVersion) -> LookupResult:
        """The files of the version that have one of the digests.

        If the page and the lock file name digests of different algorithms, files are read and
        hashed, as pip does.
        """
        hashes = "".join(f" --hash={each}" for each in sorted(pinned.digests))
        line = f"{pinned.project}=={pinned.version}{hashes}"
        computed_hashes, missing = await self._computed_hashes(pinned)

        def allowed(file: File) -> bool:
            return pinned.allows({**file.hashes, **computed_hashes.get(file.filename, {})})

        results = [LookupResult(missing=missing)]
        for target in pinned.targets:
            install = (pinned.project, pinned.version, target)
            found = await self.version(*install, allowed, line=line)
            results += [found, LookupResult(locked=(LockedVersion(*install, pinned.digests),))]
        return merge_results(results)

    async def _computed_hashes(
        self, pinned: PinnedVersion
    ) -> tuple[dict[str, dict[str, str]], tuple[Missing, ...]]:
        """By filename, the hashes of files that the page alone cannot prove to be the right ones.

        Also the files that could not be read.
        """
        try:
            page = await self.page(pinned.project)
        except ProxyError:
            return {}, ()  # reported by the lookup of the version
        files = files_of_version(page, pinned.version, self.file_filter, pinned.targets)
        if any(pinned.allows(file.hashes) for file in files):
            return {}, ()
        found, missing = {}, []
        for file in files:
            if algorithms := pinned.uncompared_algorithms(file.hashes):
                needed = NeededFile(pinned.project, file.filename, file.address_digest)
                try:
                    artifact = await self.unrecorded.file(
                        needed.project, needed.filename, needed.digest
                    )
                    found[file.filename] = await computed(artifact.blob.chunks(), algorithms)
                except ProxyError as error:
                    missing.append(Missing(needed.line, str(error)))
        return found, tuple(missing)

    async def version(
        self,
        project: ProjectName,
        version: str,
        target: Target,
        test: Callable[[File], bool] = lambda _: True,
        *,
        line: str | None = None,
        file_filter: FileFilter | None = None,
    ) -> LookupResult:
        """The needed files of a version that pass the test.

        ``line`` names the version if it is missing; ``file_filter`` replaces the lookup's own.
        """
        line = line or f"{project}=={version}"
        try:
            page = await self.page(project)
        except ProxyError as error:
            return LookupResult(missing=(Missing(line, str(error)),))
        found = files_of_version(page, version, file_filter or self.file_filter, (target,), test)
        reason = f"the index has no suitable file of this version for {target}"
        return LookupResult(
            files=tuple(chain.from_iterable(with_siblings(page, file) for file in found)),
            missing=() if found else (Missing(line, reason),),
            installs=(((project, version, target), tuple(found)),),
        )

    async def latest_versions(self, latest: LatestVersions) -> LookupResult:
        """The files of the newest versions, for all targets."""
        try:
            page = await self.page(latest.project)
        except ProxyError as error:
            return LookupResult(missing=(Missing(latest.line, str(error)),))
        file_filter = latest.file_filter or self.file_filter
        versions = newest_versions(page, latest, file_filter)
        if not versions:
            return LookupResult(missing=(Missing(latest.line, "no version matches"),))
        files = (
            with_siblings(page, file)
            for version in versions
            for file in files_of_version(page, version, file_filter, file_filter.targets)
        )
        return LookupResult(files=tuple(chain.from_iterable(files)))

    async def logged_request(self, request: LoggedRequest) -> LookupResult:
        """The page or file of a request; targets do not matter."""
        needed = NeededFile(request.project, request.filename or "", request.digest or "-")
        try:
            page = await self.page(request.project)
        except ProxyError as error:
            return LookupResult(missing=(Missing(needed.line, str(error)),))
        if request.filename is None:
            return LookupResult()
        owner = distribution_of(needed.filename)
        try:
            file = page.file(owner, request.digest)
        except NoSuchFile:
            return LookupResult(files=(needed,))
        if owner == needed.filename:
            return LookupResult(files=with_siblings(page, file))
        return LookupResult(files=(_sibling(page, file, needed.filename),))


def with_siblings(
    page: ProjectPage, file: File, lock_hashes: Mapping[str, str] | None = None
) -> tuple[NeededFile, ...]:
    """A listed file, with the ``.metadata`` and other siblings that the page promises."""
    names = ((METADATA, file.metadata), (PROVENANCE, file.provenance))
    needed = NeededFile(
        page.project, file.filename, file.address_digest, file.size, page.source, lock_hashes or {}
    )
    suffixes = [*(suffix for suffix, there in names if there), *file.beside]
    siblings = (_sibling(page, file, file.filename + suffix) for suffix in suffixes)
    return (needed, *siblings)


def _sibling(page: ProjectPage, file: File, filename: str) -> NeededFile:
    return NeededFile(page.project, filename, file.address_digest, None, page.source)


def _listed(page: ProjectPage, wanted: File) -> File:
    """The file as the page lists it; ``wanted`` itself if it is not listed with these hashes."""
    try:
        found = page.file(wanted.filename)
    except NoSuchFile:
        return wanted
    common = found.hashes.keys() & wanted.hashes.keys()
    return found if all(found.hashes[k] == wanted.hashes[k] for k in common) else wanted


def files_of_version(
    page: ProjectPage,
    version: str,
    file_filter: FileFilter,
    targets: Iterable[Target],
    test: Callable[[File], bool] = lambda _: True,
) -> list[File]:
    """The files of a version that the filter accepts for the targets and that pass the test."""
    normal = str(Version(version))
    return [
        file
        for file in page.files
        if file_filter.accepts(file.filename, targets)
        and version_of(file.filename, page.project) == normal
        and test(file)
    ]


def newest_versions(
    page: ProjectPage, latest: LatestVersions, file_filter: FileFilter
) -> list[str]:
    """The newest versions that the specifier allows and some target can use, newest first.

    Versions whose files are all yanked do not count (PEP 592).
    """
    usable = set(_usable_versions(page, file_filter))
    allowed = sorted(map(Version, latest.specifier.filter(usable)), reverse=True)
    return [str(each) for each in allowed[: latest.count]]


def sdist_to_build(files: Iterable[File], target: Target) -> File | None:
    """The sdist that has to be built for the target; None if a wheel can be installed."""
    every = list(files)
    if any(each.filename.endswith(".whl") and target.fits(each.filename) for each in every):
        return None
    return next((each for each in every if each.filename.endswith(SDIST_SUFFIXES)), None)


def _usable_versions(page: ProjectPage, file_filter: FileFilter) -> Iterator[str]:
    for file in page.files:
        version = version_of(file.filename, page.project)
        if version is None or file.yanked is not False or not file_filter.accepts(file.filename):
            continue
        if any(_meets(target, file.requires_python) for target in file_filter.targets):
            yield version


def _meets(target: Target, pythons: str | None) -> bool:
    try:
        return not pythons or target.meets(SpecifierSet(pythons))
    except ValueError:  # InvalidSpecifier, or a number of thousands of digits
        return True
