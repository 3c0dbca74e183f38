"""Reads the names of distribution files: kind, project and version. No file is opened.

Some functions read any name (``parse_filename``); others check a name against a project
(``belongs_to``, ``version_of``), which is possible for more names.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from enum import StrEnum
from functools import lru_cache
from typing import NamedTuple

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import Version

from proxy.model import ProjectName, normalize


class DistributionKind(StrEnum):
    """The kind of a distribution, by its extension."""

    WHEEL = "wheel"
    SDIST = "sdist"
    LEGACY = "legacy"  # no current tool makes these, and hardly any installs them


class DistributionName(NamedTuple):
    """Project and version in the name of a file."""

    project: ProjectName
    version: str
    """Normalized (PEP 440) if possible, else as written."""
    certain: bool
    """False: several readings are possible, and only the metadata in the archive decide."""


_KINDS_BY_SUFFIX = {
    ".whl": DistributionKind.WHEEL,
    ".tar.gz": DistributionKind.SDIST,
    ".zip": DistributionKind.SDIST,
} | dict.fromkeys(
    (".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar", ".egg", ".exe", ".msi", ".rpm", ".deb"),
    DistributionKind.LEGACY,
)

# No name, version or tag of any standard needs other characters; other letters that look the
# same could deceive people.
_ALPHABET = re.compile(r"[A-Za-z0-9._+!-]+\Z")

# Windows installers carry the platform, and perhaps a Python version, after the version.
_INSTALLER = re.compile(r"(.+?)-([^-]+)\.win(?:32|-[a-z0-9]+)(?:-py\d(?:\.\d+)?)?\Z")


# A wheel's name that needs no normalizing of the version: a plain release.
_PLAIN_WHEEL = re.compile(
    r"([A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)-((?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*)"
    r"-[a-z0-9.]+-[a-z0-9_.]*[a-z0-9]-[a-z0-9_.]*[a-z0-9]\.whl\Z"
)


def kind_of(filename: str) -> DistributionKind | None:
    """The kind by extension; None if it is none of a distribution. Case matters."""
    return _KINDS_BY_SUFFIX.get(_extension(filename))


def parse_filename(filename: str) -> DistributionName | None:
    """Project and version of a file name; None if it names neither.

    Wheels follow the binary distribution format, sdists PEP 625. The name of an older sdist
    that can be split at several dashes gives the likeliest reading, not ``certain``.
    """
    if (plain := _PLAIN_WHEEL.match(filename)) and len(filename) <= MAX_NAME:
        return DistributionName(normalize(plain[1]), plain[2], certain=True)
    kind = kind_of(filename)
    if kind is None or not _ALPHABET.match(filename) or not safe_filename(filename):
        return None
    try:
        if kind is DistributionKind.WHEEL:
            name, version, _, _ = parse_wheel_filename(filename)
            return DistributionName(normalize(name), str(version), certain=True)
        return (
            _identify_sdist(filename)
            if kind is DistributionKind.SDIST
            else _identify_legacy(filename)
        )
    except ValueError:
        return None


def split_readings(filename: str) -> Iterator[tuple[ProjectName, str]]:
    """Each possible project of the name, with the rest of the name as the version."""
    stem = stem_of(filename)
    for dash in (place for place, letter in enumerate(stem) if letter == "-"):
        try:
            yield normalize(stem[:dash]), stem[dash + 1 :]
        except ValueError:
            continue


def version_for(filename: str, project: ProjectName) -> str | None:
    """The text after a spelling of ``project`` and a dash; None if there is no such spelling."""
    return next((rest for name, rest in split_readings(filename) if name == project and rest), None)


def stem_of(filename: str) -> str:
    """The name without its extension."""
    return filename.removesuffix(_extension(filename))


def normalize_version(text: str) -> str:
    """The normalized form (PEP 440), or the text itself if it is no version."""
    return _version(text) or text


def same_version(one: str, other: str) -> bool:
    """Whether two texts are spellings of one version."""
    try:
        return Version(one) == Version(other)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return one == other


def _extension(filename: str) -> str:
    for ending in _KINDS_BY_SUFFIX:
        if filename.endswith(ending):
            return ending
    return ""


def _identify_sdist(filename: str) -> DistributionName | None:
    try:
        name, version = parse_sdist_filename(filename)
    except ValueError:
        return _likeliest(filename)
    return DistributionName(normalize(name), str(version), certain=filename.count("-") == 1)


def _identify_legacy(filename: str) -> DistributionName | None:
    stem = stem_of(filename)
    if filename.endswith(".egg"):
        # Name and version of an egg have underscores for dashes; tags follow the second dash.
        name, version = (*stem.split("-"), "")[:2]
        found = normalize_version(version.replace("_", "-"))
        return DistributionName(normalize(name), found, certain=True) if found else None
    if filename.endswith((".exe", ".msi")):
        parts = _INSTALLER.match(stem)
        return parts and DistributionName(
            normalize(parts[1]), normalize_version(parts[2]), certain=True
        )
    if filename.endswith((".rpm", ".deb")):
        return None  # named by the rules of operating systems, often with another project name
    return _likeliest(filename)


def _likeliest(filename: str) -> DistributionName | None:
    found = [(name, rest) for name, rest in split_readings(filename) if rest[:1].isdigit()]
    return (
        DistributionName(found[0][0], normalize_version(found[0][1]), certain=False)
        if found
        else None
    )


MAX_NAME = 255
"""Bytes of a file name that every file system accepts."""

_DEVICE = r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|\Z)"
_SAFE_NAME = re.compile(rf"(?!{_DEVICE})[A-Za-z0-9](?:[A-Za-z0-9._+!-]*[A-Za-z0-9_+!-])?\Z")
_UNSAFE = re.compile(rf"[.~-]|{_DEVICE}|.*[/\\:]|.*[. ]\Z")

_OF_ANY = re.compile(
    r"([A-Za-z0-9._]+)-[A-Za-z0-9._+!-]*\.whl\Z"
    r"|([A-Za-z0-9._-]+)-[A-Za-z0-9._+!]*\.(?:tar\.gz|zip)\Z"
)
_SDIST_SUFFIXES = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


def safe_filename(name: str) -> bool:
    """Whether a decoded file name can be shown, sent in headers and used on any file system."""
    if len(name) <= MAX_NAME and _SAFE_NAME.match(name):
        return True
    return (
        name.isprintable()  # False for control characters, surrogates and bidi marks
        and 0 < len(name.encode()) <= MAX_NAME
        and not _UNSAFE.match(name)
        and unicodedata.is_normalized("NFC", name)
    )


def belongs_to(filename: str, project: ProjectName) -> bool:
    """Whether the file name belongs to this project, by its name part.

    A name outside the standards (eggs, installers, dumb archives) belongs to each project with
    a spelling that it starts with, followed by a dash.
    """
    if is_plain_filename(filename, project):
        return True
    start = _start(project).match(filename)
    if start is None:
        return False
    try:
        if _name_of(filename) == project:
            return True
    except (InvalidSdistFilename, InvalidWheelFilename):
        return True
    # packaging reads "foo-1.0-1.tar.gz" as version 1 of "foo-1-0". Before PEP 625, a post release
    # could be spelled with a dash (PEP 440).
    rest = filename[start.end() :]
    return not filename.endswith(".whl") and _version(stem_of(rest)) is not None


def version_of(filename: str, project: ProjectName) -> str | None:
    """The version (PEP 440, normalized) in the name of a wheel or sdist of this project.

    None if the name has no version.
    """
    start = _start(project).match(filename)
    if start is None:
        return None
    rest = filename[start.end() :]
    if not rest.endswith(".whl"):
        return _version(stem_of(rest)) if rest.endswith(_SDIST_SUFFIXES) else None
    plain_name = "-" not in filename[: start.end() - 1]
    version, *tags = rest.split("-")
    return _version(version) if plain_name and len(tags) >= 3 else None


def is_plain_filename(filename: str, project: ProjectName) -> bool:
    """Whether ``plain_filename_pattern`` matches; compiles no pattern, for few names."""
    found = _OF_ANY.match(filename)
    if found is None or len(filename) > MAX_NAME:
        return False
    return _spelled_out(found[1] or found[2]) == project and not _is_unsafe(project)


@lru_cache(maxsize=4096)
def _spelled_out(name: str) -> str:
    """The name with dashes and in lower case; the files of a project have few spellings."""
    return name.lower().replace("_", "-").replace(".", "-")


@lru_cache(maxsize=4096)
def _is_unsafe(project: ProjectName) -> bool:
    return bool(_UNSAFE.match(project.replace("-", ".")))


def plain_filename_pattern(project: ProjectName) -> str:
    """A pattern for safe file names of this project in the forms of the standards, unanchored.

    The project ends at the first dash of a wheel's name, and at the last of an sdist's: if a
    spelling of the project ends there too, no further check is necessary.
    """
    room = MAX_NAME - len(project) - len("-.tar.gz")
    if room < 0 or _UNSAFE.match(project.replace("-", ".")):
        return "(?!)"
    wheel = _spelling(project, "[_.]") + rf"-[A-Za-z0-9._+!-]{{0,{room}}}\.whl"
    sdist = _spelling(project, "[-_.]") + rf"-[A-Za-z0-9._+!]{{0,{room}}}\.(?:tar\.gz|zip)"
    return f"(?:{wheel}|{sdist})"


@lru_cache(maxsize=1024)
def _start(project: ProjectName) -> re.Pattern[str]:
    return re.compile(_spelling(project, "[-_.]+") + "-")


def _spelling(project: ProjectName, separator: str) -> str:
    """A pattern for all spellings of the name.

    It lists both cases of each letter: ignoring case would match letters of other alphabets, and
    slow the search down.
    """
    letters = (f"[{c}{c.upper()}]" if c.isalpha() else c for c in project)
    return "".join(separator if c == "-" else c for c in letters)


def _name_of(filename: str) -> str:
    """The name part, normalized. Raises the errors of ``packaging``."""
    if filename.endswith(".whl"):
        return parse_wheel_filename(filename)[0]
    return canonicalize_name(parse_sdist_filename(filename)[0])


@lru_cache(maxsize=4096)
def _version(text: str) -> str | None:
    try:
        return str(Version(text))
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return None
