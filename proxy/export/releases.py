"""The files of a page by version, newest first. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from operator import attrgetter

from packaging.version import InvalidVersion, Version

from proxy.distributions.filename import parse_filename
from proxy.model import File, ProjectName
from proxy.simple.names import version_of


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
