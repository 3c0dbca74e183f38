"""Project names (PEP 503, PEP 508) and what file names say about them."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from packaging.utils import (
    InvalidSdistFilename,
    InvalidWheelFilename,
    canonicalize_name,
    parse_sdist_filename,
    parse_wheel_filename,
)
from packaging.version import InvalidVersion, Version

from proxy.model import ProjectName

MAX_NAME = 255
"""Bytes of a file name that every file system takes."""

_DEVICE = r"(?i:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|\Z)"
_PLAIN = re.compile(rf"(?!{_DEVICE})[A-Za-z0-9](?:[A-Za-z0-9._+!-]*[A-Za-z0-9_+!-])?\Z")
_UNSAFE = re.compile(rf"[.~-]|{_DEVICE}|.*[/\\:]|.*[. ]\Z")

_OF_ANY = re.compile(
    r"([A-Za-z0-9._]+)-[A-Za-z0-9._+!-]*\.whl\Z"
    r"|([A-Za-z0-9._-]+)-[A-Za-z0-9._+!]*\.(?:tar\.gz|zip)\Z"
)
_SDISTS = (".tar.gz", ".zip", ".tar.bz2", ".tgz", ".tar.xz")


def safe_filename(name: str) -> bool:
    """Whether a decoded file name can be shown, sent in headers and put on any file system."""
    if len(name) <= MAX_NAME and _PLAIN.match(name):
        return True
    return (
        name.isprintable()  # which a control character, a surrogate or a bidi mark is not
        and 0 < len(name.encode()) <= MAX_NAME
        and not _UNSAFE.match(name)
        and unicodedata.is_normalized("NFC", name)
    )


def belongs_to(filename: str, project: ProjectName) -> bool:
    """Whether the file name is one of this project, going by its name part.

    A name that no standard explains (eggs, installers, dumb archives) belongs to every
    project it starts with a spelling of, followed by a dash.
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
    # packaging takes "foo-1.0-1.tar.gz" for version 1 of "foo-1-0": PEP 440 allows a
    # post release to be spelled with a dash, PEP 625 came later.
    rest = filename[start.end() :]
    return not filename.endswith(".whl") and _version(_stem(rest)) is not None


def version_of(filename: str, project: ProjectName) -> str | None:
    """The version (PEP 440, normalized) in the name of a wheel or sdist of this project.

    None if the name does not tell.
    """
    start = _start(project).match(filename)
    if start is None:
        return None
    rest = filename[start.end() :]
    if not rest.endswith(".whl"):
        return _version(_stem(rest)) if rest.endswith(_SDISTS) else None
    plain_name = "-" not in filename[: start.end() - 1]
    version, *tags = rest.split("-")
    return _version(version) if plain_name and len(tags) >= 3 else None


def is_plain_filename(filename: str, project: ProjectName) -> bool:
    """Whether ``plain_filename_pattern`` describes the file name; for a few, without making a pattern."""
    found = _OF_ANY.match(filename)
    if found is None or len(filename) > MAX_NAME or _UNSAFE.match(project.replace("-", ".")):
        return False
    spelled: str = found[1] or found[2]
    return spelled.lower().replace("_", "-").replace(".", "-") == project


def plain_filename_pattern(project: ProjectName) -> str:
    """A pattern of file names that are plainly of this project and safe; ends before the end.

    A wheel's name ends at its first dash, an sdist's at its last: wherever a spelling of
    the project ends there too, nothing else has to be looked at.
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
    """A pattern for all ways to write the name.

    Both cases of each letter are listed, as ignoring case would let other alphabets' letters
    in and costs the search its quick start.
    """
    letters = (f"[{c}{c.upper()}]" if c.isalpha() else c for c in project)
    return "".join(separator if c == "-" else c for c in letters)


def _name_of(filename: str) -> str:
    """The name part, normalized; raises packaging's errors."""
    if filename.endswith(".whl"):
        return parse_wheel_filename(filename)[0]
    return canonicalize_name(parse_sdist_filename(filename)[0])


def _stem(rest: str) -> str:
    return next((rest.removesuffix(end) for end in _SDISTS if rest.endswith(end)), rest)


@lru_cache(maxsize=4096)
def _version(text: str) -> str | None:
    try:
        return str(Version(text))
    except InvalidVersion:
        return None
