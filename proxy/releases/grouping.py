"""The releases of a project: which there are, which is the newest, which a version means."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from operator import attrgetter

import msgspec
from packaging.version import Version

from proxy.distributions import (
    DistributionKind,
    kind_of,
    parse_filename,
    same_version,
    version_of,
)
from proxy.model import File, ProjectName


class ProjectRelease(msgspec.Struct, frozen=True):
    version: str
    """Empty if the file names have no valid version."""
    files: tuple[File, ...]

    @property
    def yanked(self) -> bool:
        return all(file.yanked for file in self.files)

    @property
    def yank_reason(self) -> str:
        """Of the first file that has one."""
        return next((file.yanked for file in self.files if isinstance(file.yanked, str)), "")

    @property
    def uploaded(self) -> str:
        """The day of the first upload, ``yyyy-mm-dd``, or nothing."""
        return min((file.uploaded[:10] for file in self.files if file.uploaded), default="")


def group_by_release(project: ProjectName, files: Iterable[File]) -> list[ProjectRelease]:
    """Every file in one release, newest release first, wheels first."""
    found: dict[str, list[File]] = {}
    for file in sorted(files, key=attrgetter("filename")):
        found.setdefault(_version(project, file.filename), []).append(file)
    return [
        ProjectRelease(version, tuple(sorted(found[version], key=_is_no_wheel)))
        for version in sorted(found, key=version_key, reverse=True)
    ]


def newest_release(found: Sequence[ProjectRelease]) -> ProjectRelease:
    """The release that installers choose: the highest final one that is not yanked, if any."""
    kept = [each for each in found if not each.yanked] or found
    return next((each for each in kept if not is_preliminary(each.version)), kept[0])


def find_release(found: Sequence[ProjectRelease], version: str) -> ProjectRelease | None:
    """The release of exactly that version, else one whose version is equal (PEP 440)."""
    exact = (each for each in found if each.version == version)
    equal = (each for each in found if each.version and same_version(each.version, version))
    return next(exact, None) or next(equal, None)


def version_key(version: str) -> tuple[int, Version | str]:
    """A sort key of versions; those that are not valid (PEP 440) come first."""
    try:
        return 1, Version(version)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return 0, version


def _version(project: ProjectName, filename: str) -> str:
    if version := version_of(filename, project):
        return version
    parsed = parse_filename(filename)
    return parsed.version if parsed and parsed.project == project else ""


def is_preliminary(version: str) -> bool:
    """Whether installers choose it only on request: a pre-release, or no version (PEP 440)."""
    order, found = version_key(version)
    return order == 0 or (isinstance(found, Version) and found.is_prerelease)


def _is_no_wheel(file: File) -> bool:
    return not file.filename.endswith(".whl")


def file_in_words(filename: str) -> str:
    """``wheel, Python 3, any platform``; ``source``; the kind of older formats."""
    kind = kind_of(filename)
    if kind is DistributionKind.SDIST:
        return "source"
    if kind is not DistributionKind.WHEEL:
        return "older format"
    python, abi, platform = filename.removesuffix(".whl").split("-")[-3:]
    where = "any platform" if platform == "any" else platform.replace(".", ", ")
    binary = "" if abi in ("none", "any") else f" ({abi})"
    return f"wheel, {_python(python)}{binary}, {where}"


def _python(tags: str) -> str:
    if tags == "py3":
        return "Python 3"
    if tags == "py2.py3":
        return "Python 2 and 3"
    if tags.startswith(("cp3", "py3")) and tags[3:].isdecimal():
        return f"{'C' if tags.startswith('cp') else ''}Python 3.{tags[3:]}"
    return tags
