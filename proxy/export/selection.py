"""What of an index is exported: pages with the files that were chosen, each found on this disk.

The files of a page by version, newest first. Pure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from operator import attrgetter

from packaging.version import InvalidVersion, Version

from proxy.distributions import kind_of, parse_filename, version_of
from proxy.errors import NoSuchFile, NoSuchProject, ProxyError
from proxy.export.placing import Content
from proxy.indexes import Index
from proxy.model import File, ProjectName, ProjectPage
from proxy.storage import digests_of

ExportSelection = Mapping[ProjectName, Set[str] | None]
"""Projects, and which of their files by name; None: all that the index has."""

_TOLD = 10
_PAUSE = 0.1
"""Seconds."""


def of_files(files: Iterable[tuple[ProjectName, str]]) -> ExportSelection:
    """The distributions among these files; what lies beside one comes along anyway."""
    found: dict[ProjectName, set[str]] = {}
    for project, filename in files:
        if kind_of(filename) is not None:
            found.setdefault(project, set()).add(filename)
    return found


class NotHeld(ProxyError):
    """What was asked for is not there to be exported."""

    def __init__(self, missing: Sequence[str]) -> None:
        super().__init__(missing)
        self.missing = tuple(missing)
        """Projects and files, as ``warm -`` reads them."""

    def __str__(self) -> str:
        if not self.missing:
            return "there is nothing to export"
        more = len(self.missing) - _TOLD
        told = ", ".join(self.missing[:_TOLD]) + (f", and {more} more" if more > 0 else "")
        return f"not held: {told}; `waystation warm` fetches what is missing"


@dataclass(frozen=True, slots=True)
class Chosen:
    """A file that is exported."""

    file: File
    """As the index lists it."""
    content: Content | None
    """None: it is not on this disk."""


@dataclass(frozen=True, slots=True)
class Exhibit:
    """A project that is exported."""

    page: ProjectPage
    files: tuple[Chosen, ...]


async def choose(
    index: Index, selection: ExportSelection | None, *, held: bool = True
) -> list[Exhibit]:
    """What is exported, by project; everything that the index has if nothing is selected.

    ``held``: files have to be on this disk. Raises ``NotHeld``, and what the index raises.
    """
    missing: list[str] = []
    found: list[Exhibit] = []
    for project in sorted(await index.projects() if selection is None else selection):
        names = None if selection is None else selection[project]
        page = await _page(index, project)
        files = [each for each in page.files if _wanted(each, names)]
        missing += _absent(project, files, names) if selection is not None else []
        chosen = [await _chosen(index, project, each) for each in files]
        missing += [_line(project, e.file) for e in chosen if held and e.content is None]
        if chosen:
            found.append(Exhibit(page, tuple(chosen)))
    if missing or not found:
        raise NotHeld(missing)
    return found


async def _page(index: Index, project: ProjectName) -> ProjectPage:
    """Without files where there is none: not even at a second look, as servers replace pages."""
    for pause in (0.0, _PAUSE):
        await asyncio.sleep(pause)
        with suppress(NoSuchProject):
            return await index.page(project)
    return ProjectPage(project, ())


def _wanted(file: File, names: Set[str] | None) -> bool:
    """Only distributions: what else a page lists could take the place of a sibling."""
    return kind_of(file.filename) is not None and (names is None or file.filename in names)


def _absent(project: ProjectName, files: Sequence[File], names: Set[str] | None) -> list[str]:
    if names is None:
        return [] if files else [project]
    there = {file.filename for file in files}
    return [f"{project}/{name}" for name in sorted(names - there)]


def _line(project: ProjectName, file: File) -> str:
    return f"{project}/{file.filename}#{file.address_digest}"


async def _chosen(index: Index, project: ProjectName, file: File) -> Chosen:
    try:
        blob = (await index.file(project, file.filename, file.address_digest)).blob
    except NoSuchFile:
        return Chosen(file, None)
    path, size = blob.local_path(), blob.size
    if path is None or size is None:
        return Chosen(file, None)
    sha256 = file.sha256 or (await digests_of(blob, ("sha256",)))["sha256"]
    return Chosen(file, Content(path, size, sha256, ours=blob.key is not None))


@dataclass(frozen=True, slots=True)
class Release:
    version: str
    """Empty: the names of these files tell none."""
    files: tuple[File, ...]

    @property
    def yanked(self) -> bool:
        return all(file.yanked for file in self.files)

    @property
    def uploaded(self) -> str:
        """The day of the first upload, ``yyyy-mm-dd``, or nothing."""
        return min((file.uploaded[:10] for file in self.files if file.uploaded), default="")


def releases(project: ProjectName, files: Iterable[File]) -> list[Release]:
    """Every file in one, wheels first."""
    found: dict[str, list[File]] = {}
    for file in sorted(files, key=attrgetter("filename")):
        found.setdefault(_version(project, file.filename), []).append(file)
    return [
        Release(version, tuple(sorted(found[version], key=_kind)))
        for version in sorted(found, key=rank, reverse=True)
    ]


def newest(found: Sequence[Release]) -> Release:
    """What an installer takes: the highest that is final and not yanked, if there is such."""
    kept = [each for each in found if not each.yanked] or found
    return next((each for each in kept if not _is_preliminary(each.version)), kept[0])


def rank(version: str) -> tuple[int, Version | str]:
    """A key to sort versions by; those that PEP 440 does not know come first."""
    try:
        return 1, Version(version)
    except InvalidVersion:
        return 0, version


def _version(project: ProjectName, filename: str) -> str:
    if version := version_of(filename, project):
        return version
    said = parse_filename(filename)
    return said.version if said and said.project == project else ""


def _is_preliminary(version: str) -> bool:
    order, found = rank(version)
    return order == 0 or (isinstance(found, Version) and found.is_prerelease)


def _kind(file: File) -> bool:
    return not file.filename.endswith(".whl")
