"""Which files of a project's page are meant: by version, by target, the newest so many. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import Version

from proxy.bundle.choice import SDIST_SUFFIXES, FileFilter
from proxy.bundle.targets import Target
from proxy.bundle.wants import LatestVersions
from proxy.model import File, ProjectPage
from proxy.simple.names import version_of


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
