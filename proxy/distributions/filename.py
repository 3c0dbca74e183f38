"""What the name of a distribution file says: its kind, project and version. No file is opened."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

from packaging.utils import parse_sdist_filename, parse_wheel_filename
from packaging.version import InvalidVersion, Version

from proxy.model import ProjectName, normalize
from proxy.simple.names import MAX_NAME, safe_filename


class DistributionKind(StrEnum):
    """What sort of distribution an extension announces."""

    WHEEL = "wheel"
    SDIST = "sdist"
    LEGACY = "legacy"  # nothing makes these any more, and hardly anything installs them


class DistributionName(NamedTuple):
    """Whose file a name says it is."""

    project: ProjectName
    version: str
    """Normalized (PEP 440) if it can be, else as written."""
    certain: bool
    """False: several readings are possible, and only the archive's own metadata can tell."""


_KINDS = {
    ".whl": DistributionKind.WHEEL,
    ".tar.gz": DistributionKind.SDIST,
    ".zip": DistributionKind.SDIST,
} | dict.fromkeys(
    (".tar.bz2", ".tgz", ".tar.xz", ".tar.Z", ".tar", ".egg", ".exe", ".msi", ".rpm", ".deb"),
    DistributionKind.LEGACY,
)

# No name, version or tag of any standard needs more; what looks like one of these letters
# and is another would only help to deceive.
_ALPHABET = re.compile(r"[A-Za-z0-9._+!-]+\Z")

# Windows installers carry the platform, and perhaps a Python version, after the version.
_INSTALLER = re.compile(r"(.+?)-([^-]+)\.win(?:32|-[a-z0-9]+)(?:-py\d(?:\.\d+)?)?\Z")


# A wheel's name of which nothing has to be worked out: the parts, and a plain release as version.
_PLAIN_WHEEL = re.compile(
    r"([A-Za-z0-9]+(?:_[A-Za-z0-9]+)*)-((?:0|[1-9][0-9]*)(?:\.(?:0|[1-9][0-9]*))*)"
    r"-[a-z0-9.]+-[a-z0-9_.]*[a-z0-9]-[a-z0-9_.]*[a-z0-9]\.whl\Z"
)


def kind_of(filename: str) -> DistributionKind | None:
    """The kind by extension; None for all that is not a distribution. Case matters."""
    return _KINDS.get(_extension(filename))


def parse_filename(filename: str) -> DistributionName | None:
    """Project and version as the name tells them; None if it names neither.

    Wheels follow the binary distribution format, sdists PEP 625. The name of an older sdist
    that can be split at several dashes gives the likeliest reading, as not ``certain``.
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
    """Every project the name can be meant for, with what then is left as the version."""
    stem = stem_of(filename)
    for dash in (place for place, letter in enumerate(stem) if letter == "-"):
        try:
            yield normalize(stem[:dash]), stem[dash + 1 :]
        except ValueError:
            continue


def version_for(filename: str, project: ProjectName) -> str | None:
    """What follows a spelling of ``project`` and a dash; None if there is no such."""
    return next((rest for name, rest in split_readings(filename) if name == project and rest), None)


def stem_of(filename: str) -> str:
    """The name without its extension."""
    return filename.removesuffix(_extension(filename))


def normal_version(text: str) -> str:
    """The normalized form (PEP 440), or the text itself where there is none."""
    try:
        return str(Version(text))
    except InvalidVersion:
        return text


def same_version(one: str, other: str) -> bool:
    """Whether two spellings mean one version."""
    try:
        return Version(one) == Version(other)
    except InvalidVersion:
        return one == other


def _extension(filename: str) -> str:
    for ending in _KINDS:
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
        # An egg's name and version have underscores for dashes: only tags follow the second.
        name, version = (*stem.split("-"), "")[:2]
        found = normal_version(version.replace("_", "-"))
        return DistributionName(normalize(name), found, certain=True) if found else None
    if filename.endswith((".exe", ".msi")):
        parts = _INSTALLER.match(stem)
        return parts and DistributionName(
            normalize(parts[1]), normal_version(parts[2]), certain=True
        )
    if filename.endswith((".rpm", ".deb")):
        return None  # named by the rules, and often with the name, of another world
    return _likeliest(filename)


def _likeliest(filename: str) -> DistributionName | None:
    found = [(name, rest) for name, rest in split_readings(filename) if rest[:1].isdigit()]
    return (
        DistributionName(found[0][0], normal_version(found[0][1]), certain=False) if found else None
    )
