"""All projects that a file name in a private directory could mean. No file is opened.

``parse_filename`` gives the one reading of the standards. A name outside the standards may still
be of a private project, and that project must not be requested from an upstream.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from urllib.parse import unquote

from proxy import late_pattern
from proxy.distributions.filenames import parse_filename
from proxy.model import ProjectName, normalize

_ARCHIVES = r"whl|zip|tgz|tbz2?|txz|tlz|tar|conda|egg(?!-)|7z"
_SYSTEM_PACKAGES = r"exe|msi|rpm|deb|dmg|pkg"

# Other suffixes may follow: of signatures and digests, metadata (PEP 658), unfinished uploads,
# copies ("name.tar (1).gz"). ``.egg-info`` and ``.dist-info`` are no distributions.
_KNOWN_SUFFIX = late_pattern(
    rf"\.(?:(?:{_ARCHIVES})|(?P<system>{_SYSTEM_PACKAGES}))(?![a-z0-9])", re.I
)
_MAX_NAME_LENGTH = 255  # characters: no file system has longer names

_VERSION_START = late_pattern(r"v?[0-9]", re.I)
_VERSION_INSIDE = late_pattern(r"[._ ]v?(?=[0-9])", re.I)
_WHEEL_TAGS = 3  # Python, ABI, platform
_PYTHON_TAG = late_pattern(r"(?:py|cp|pp|ip|jy)[0-9]", re.I)
_NO_NAME = late_pattern(r"[^A-Za-z0-9._-]+")
_DASHES = late_pattern(r"\s*[\u00ad\u2010-\u2015\u2212\ufe58\ufe63\uff0d]\s*|\s+-\s*|-\s+")


def looks_like_distribution(filename: str) -> bool:
    """Whether a suffix of distributions is anywhere in the name, in upper or lower case."""
    return _suffix_of(filename) is not None


def possible_projects(filename: str) -> tuple[ProjectName, ...]:
    """The projects, likeliest first; none if the name does not look like a distribution.

    A name of the standards means one project. Otherwise each start of the name before a possible
    version (a part that begins with a digit, or the last part) may be the project; for wheels
    also the start before a version and a build tag; and the whole name, if no part begins with
    a digit, since a file need not have a version. So ``acme-dash-1.0-py3-none-any.whl`` may be
    of ``acme-dash`` or ``acme``, but ``acme-big-tool-1.0-py3-none-any.whl`` is not of ``acme``:
    one file must not claim each short name that it begins with.
    """
    found = _suffix_of(filename)
    if found is None:
        return ()
    named = parse_filename(filename[: found.end()])
    if named and named.certain:
        return (named.project,)
    stem = _plain(filename[: found.start()])
    parts = stem.split("-")
    wheel = filename[found.start() : found.end()].lower() == ".whl"
    if wheel:
        parts = _without_tags(parts)
    if found["system"] and len(parts) == 1:
        return ()  # "setup.exe" is a program, as "setup-1.0.exe" need not be
    names = (_project(name) for name in _names(parts, wheel=wheel))
    return tuple(dict.fromkeys(name for name in names if name))


def possible_projects_of_folder(folder: str) -> tuple[ProjectName, ...]:
    """The projects of a folder in the root: its name, with and without a version at the end."""
    if looks_like_distribution(folder):
        return possible_projects(folder)
    stem = _plain(folder)
    parts = stem.split("-")
    before = ["-".join(parts[:end]) for end in _version_parts(parts)]
    names = (_project(name) for name in (stem, *before))
    return tuple(dict.fromkeys(name for name in names if name))


def _suffix_of(filename: str) -> re.Match[str] | None:
    """The first suffix after a name."""
    if len(filename) > _MAX_NAME_LENGTH or "." not in filename:
        return None
    return _KNOWN_SUFFIX.search(filename, 1)


def _names(parts: list[str], *, wheel: bool) -> Iterator[str]:
    versions = list(_version_parts(parts))
    ends = {*versions, len(parts) - 1}
    if wheel and versions and versions[-1] == len(parts) - 1:
        ends.add(len(parts) - 2)  # a part that begins with a digit can be a build tag
    if not versions:
        ends.add(len(parts))
    for end in sorted(ends, reverse=True):
        yield "-".join(parts[:end])
    if not versions:  # "acme_tool_1.0": the version may follow another character than a dash
        stem = "-".join(parts)
        yield from (stem[: found.start()] for found in _VERSION_INSIDE.finditer(stem))


def _version_parts(parts: list[str]) -> Iterator[int]:
    return (at for at, part in enumerate(parts) if at and _VERSION_START.match(part))


def _without_tags(parts: list[str]) -> list[str]:
    """The parts without the tags of a wheel."""
    tagged = next((at for at, part in enumerate(parts) if at and _PYTHON_TAG.match(part)), None)
    if tagged is not None and len(parts) - tagged <= _WHEEL_TAGS:
        return parts[:tagged]
    return parts[:-_WHEEL_TAGS] if len(parts) > _WHEEL_TAGS else parts


def _project(name: str) -> ProjectName | None:
    try:
        return normalize(_NO_NAME.sub("-", name).strip("-_."))
    except ValueError:
        return None


def _plain(name: str) -> str:
    """The name with ASCII letters and dashes instead of characters that look or mean the same."""
    if name.isascii() and "%" not in name:
        return _DASHES.sub("-", name).lstrip("-_.~ ")
    decoded = unquote(name, errors="ignore")
    letters = unicodedata.normalize("NFKD", _DASHES.sub("-", decoded))
    shown = "".join(c for c in letters if unicodedata.category(c) not in ("Mn", "Cf", "Cs"))
    return shown.lstrip("-_.~ ")
