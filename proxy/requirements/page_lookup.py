"""The needs that sources name themselves: files, versions, the newest so many. No resolver.

Which files of a project's page are meant: by version, by target, the newest so many. Pure.

What has been found to be needed so far, each thing once. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from proxy.distributions import Target, version_of
from proxy.errors import NoSuchFile, ProxyError
from proxy.indexes import Index
from proxy.model import METADATA, PROVENANCE, File, ProjectName, ProjectPage
from proxy.requirements.model import (
    SDIST_SUFFIXES,
    FileFilter,
    LatestVersions,
    LockedVersion,
    LoggedRequest,
    Missing,
    NeededFile,
    Pinned,
    PinnedVersion,
)
from proxy.upstream import computed


@dataclass(slots=True)
class PageLookup:
    """Looks up on pages what is named, and collects it."""

    index: Index
    files: Index
    """The same, but nothing that is read here is noted as needed."""
    choice: FileFilter
    collected: GatheredFiles
    pages: dict[ProjectName, ProjectPage | ProxyError]
    """Those that have been read, with what went wrong."""

    async def page(self, project: ProjectName) -> ProjectPage:
        """The page, read once. Raises as ``Index.page``."""
        if project not in self.pages:
            try:
                self.pages[project] = await self.index.page(project)
            except ProxyError as error:
                self.pages[project] = error
        found = self.pages[project]
        if isinstance(found, ProxyError):
            raise found
        return found

    async def file(self, pinned: Pinned) -> None:
        """The file of these bytes, also if the page does not list it any more."""
        unlisted = File(pinned.filename, "", pinned.hashes)
        need = NeededFile(pinned.project, pinned.filename, unlisted.address_digest)
        try:
            page = await self.page(pinned.project)
        except ProxyError as error:
            self.collected.miss(need.line, str(error))
            return
        file = _listed(page, unlisted)
        if file is unlisted:
            self.collected.add(need)
        else:
            proven = file.hashes.keys() & pinned.hashes.keys()
            self.collected.take(page, file, {} if proven else pinned.hashes)
        for target in pinned.targets:
            install = (pinned.project, pinned.version, target)
            self.collected.install(install, [file])
            digests = (f"{name}:{digest}" for name, digest in pinned.hashes.items())
            self.collected.lock(install, frozenset(digests))

    async def pinned(self, wanted: PinnedVersion) -> None:
        """The files of the version that have one of the digests.

        Where the index names other digests than the lock, files are read, as pip does it.
        """
        hashes = "".join(f" --hash={each}" for each in sorted(wanted.digests))
        line = f"{wanted.project}=={wanted.version}{hashes}"
        computed = await self._computed(wanted)
        for target in wanted.targets:
            install = (wanted.project, wanted.version, target)
            self.collected.lock(install, wanted.digests)
            await self.version(
                *install,
                lambda file: wanted.allows({**file.hashes, **computed.get(file.filename, {})}),
                line=line,
            )

    async def _computed(self, wanted: PinnedVersion) -> dict[str, dict[str, str]]:
        """By file name, the digests of the bytes of files that only their bytes can prove."""
        try:
            page = await self.page(wanted.project)
        except ProxyError:
            return {}  # reported where the page is needed
        files = of_version(page, wanted.version, self.choice, wanted.targets)
        if any(wanted.allows(file.hashes) for file in files):
            return {}
        found = {}
        for file in files:
            if algorithms := wanted.unproven(file.hashes):
                need = NeededFile(wanted.project, file.filename, file.address_digest)
                try:
                    artifact = await self.files.file(need.project, need.filename, need.digest)
                    found[file.filename] = await computed(artifact.blob.chunks(), algorithms)
                except ProxyError as error:
                    self.collected.miss(need.line, str(error))
        return found

    async def version(
        self,
        project: ProjectName,
        version: str,
        target: Target,
        test: Callable[[File], bool] = lambda _: True,
        *,
        line: str | None = None,
        choice: FileFilter | None = None,
    ) -> None:
        """The wanted files of a version that pass the test; ``line`` is what to call it."""
        line = line or f"{project}=={version}"
        try:
            page = await self.page(project)
        except ProxyError as error:
            self.collected.miss(line, str(error))
            return
        found = of_version(page, version, choice or self.choice, (target,), test)
        for file in found:
            self.collected.take(page, file)
        self.collected.install((project, version, target), found)
        if not found:
            self.collected.miss(line, f"the index has no wanted file of it for {target}")

    async def newest(self, named: LatestVersions) -> None:
        try:
            page = await self.page(named.project)
        except ProxyError as error:
            self.collected.miss(named.line, str(error))
            return
        choice = named.choice or self.choice
        versions = newest(page, named, choice)
        for version in versions:
            for file in of_version(page, version, choice, choice.targets):
                self.collected.take(page, file)
        if not versions:
            self.collected.miss(named.line, "no version fits")

    async def touched(self, touched: LoggedRequest) -> None:
        """A page or a file that somebody asked for, whatever the targets."""
        need = NeededFile(touched.project, touched.filename or "", touched.digest or "-")
        try:
            page = await self.page(touched.project)
        except ProxyError as error:
            self.collected.miss(need.line, str(error))
            return
        owner = need.filename.removesuffix(METADATA).removesuffix(PROVENANCE)
        if touched.filename is None:
            return
        try:
            file = page.file(owner, touched.digest)
        except NoSuchFile:
            self.collected.add(need)
            return
        if owner == need.filename:
            self.collected.take(page, file)
        else:
            need = NeededFile(
                touched.project, need.filename, file.address_digest, None, page.source
            )
            self.collected.add(need)


def _listed(page: ProjectPage, wanted: File) -> File:
    """The file as the page lists it, unless it does not, or with other bytes."""
    try:
        found = page.file(wanted.filename)
    except NoSuchFile:
        return wanted
    common = found.hashes.keys() & wanted.hashes.keys()
    return found if all(found.hashes[k] == wanted.hashes[k] for k in common) else wanted


def of_version(
    page: ProjectPage,
    version: str,
    choice: FileFilter,
    targets: Iterable[Target],
    test: Callable[[File], bool] = lambda _: True,
) -> list[File]:
    """The wanted files of a version that pass the test."""
    normal = str(Version(version))
    return [
        file
        for file in page.files
        if choice.takes(file.filename, targets)
        and version_of(file.filename, page.project) == normal
        and test(file)
    ]


def newest(page: ProjectPage, named: LatestVersions, choice: FileFilter) -> list[str]:
    """The newest versions that the specifier allows and some target can use, best first.

    Versions of which every file is yanked do not count (PEP 592).
    """
    usable = set(_usable(page, choice))
    allowed = sorted(map(Version, named.specifier.filter(usable)), reverse=True)
    return [str(each) for each in allowed[: named.latest]]


def to_be_built(files: Iterable[File], target: Target) -> File | None:
    """The sdist that has to be built there, if none of the files can be installed as it is."""
    every = list(files)
    if any(each.filename.endswith(".whl") and target.fits(each.filename) for each in every):
        return None
    return next((each for each in every if each.filename.endswith(SDIST_SUFFIXES)), None)


def _usable(page: ProjectPage, choice: FileFilter) -> Iterator[str]:
    for file in page.files:
        version = version_of(file.filename, page.project)
        if version is None or file.yanked is not False or not choice.takes(file.filename):
            continue
        if any(_meets(target, file.requires_python) for target in choice.targets):
            yield version


def _meets(target: Target, pythons: str | None) -> bool:
    try:
        return not pythons or target.meets(SpecifierSet(pythons))
    except InvalidSpecifier:
        return True


Install = tuple[ProjectName, str, Target]
"""A version that is to be installed somewhere."""

_NOTHING: Mapping[str, str] = {}


@dataclass(slots=True)
class GatheredFiles:
    installs: dict[Install, list[File]] = field(default_factory=dict)
    """The files that each can be installed from."""
    _files: dict[tuple[ProjectName, str, str], NeededFile] = field(default_factory=dict)
    _missing: dict[str, str] = field(default_factory=dict)
    _locked: dict[Install, frozenset[str]] = field(default_factory=dict)

    @property
    def files(self) -> tuple[NeededFile, ...]:
        return tuple(sorted(self._files.values(), key=lambda each: each.line))

    @property
    def missing(self) -> tuple[Missing, ...]:
        return tuple(Missing(*each) for each in self._missing.items())

    @property
    def locked(self) -> tuple[LockedVersion, ...]:
        return tuple(LockedVersion(*key, found) for key, found in self._locked.items())

    def take(self, page: ProjectPage, file: File, proofs: Mapping[str, str] = _NOTHING) -> None:
        """A file of the page with what the page says lies beside it."""
        self.add(
            NeededFile(
                page.project, file.filename, file.address_digest, file.size, page.source, proofs
            )
        )
        for suffix, there in ((METADATA, file.metadata), (PROVENANCE, file.provenance)):
            if there:
                filename = file.filename + suffix
                self.add(NeededFile(page.project, filename, file.address_digest, None, page.source))

    def add(self, need: NeededFile) -> None:
        self._files.setdefault((need.project, need.filename, need.digest), need)

    def miss(self, line: str, reason: str) -> None:
        self._missing.setdefault(line, reason)

    def install(self, install: Install, files: Iterable[File]) -> None:
        self.installs.setdefault(install, []).extend(files)

    def lock(self, install: Install, digests: frozenset[str]) -> None:
        """``digests`` as in ``LockedVersion``; targets share what is one."""
        known = self._locked.setdefault(install, digests)
        if not digests <= known:
            self._locked[install] = known | digests
