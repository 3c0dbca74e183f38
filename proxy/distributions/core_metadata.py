"""The few fields of METADATA and PKG-INFO (core metadata) that an index needs. Pure.

What METADATA and PKG-INFO (core metadata) tell people about a version. Pure.

The projects that a distribution needs, as its core metadata tell (PEP 508).
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import parseaddr
from functools import lru_cache
from typing import NamedTuple

from packaging.markers import InvalidMarker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.distributions.archive_limits import UnusableArchive
from proxy.distributions.filenames import normal_version, same_version
from proxy.model import ProjectName, normalize

_log = logging.getLogger(__name__)

_NO_TEXT = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_STATIC_SINCE = (2, 2)  # PEP 643: from then on, what an sdist says is not changed by building


class CoreMetadata(NamedTuple):
    project: ProjectName
    version: str
    """Normalized if it can be."""
    requires_python: str | None
    """As written, if it is a specifier set (PEP 440) and binding; else None."""

    def check(self, project: ProjectName, version: str) -> None:
        """Raises ``UnusableArchive`` if this is not the metadata of that version."""
        if self.project != project or not same_version(self.version, version):
            raise UnusableArchive(f"its metadata say that it is {self.project} {self.version}")


def parse_metadata(metadata: bytes, *, sdist: bool = False) -> CoreMetadata:
    """Read the fields. An sdist's Requires-Python counts only where it is static (PEP 643).

    Raises ``UnusableArchive`` if the name or the version is missing, repeated or not text.
    """
    try:
        message = HeaderParser().parsestr(metadata.decode("utf-8", "surrogateescape"))
        project = normalize(_single(message, "Name"))
    except ValueError as error:
        raise UnusableArchive("its metadata name no project") from error
    version = normal_version(_single(message, "Version"))
    binding = not sdist or _is_static(message, "Requires-Python")
    return CoreMetadata(project, version, _requires_python(message) if binding else None)


def requires_python_of(
    metadata: bytes, project: ProjectName, version: str, *, sdist: bool = False
) -> str | None:
    """``Requires-Python`` of a file whose name says ``project`` and ``version``.

    Raises ``UnusableArchive`` if the metadata are another distribution's.
    """
    found = parse_metadata(metadata, sdist=sdist)
    found.check(project, version)
    return found.requires_python


def _texts(message: Message, field: str) -> list[str]:
    values = (" ".join(str(value).split()) for value in message.get_all(field, []))
    return [value for value in values if value and not _NO_TEXT.search(value)]


def _single(message: Message, field: str) -> str:
    values = _texts(message, field)
    if len(values) != 1 or len(message.get_all(field, [])) != 1:
        raise UnusableArchive(f"its metadata have no single {field}")
    return values[0]


def _requires_python(message: Message) -> str | None:
    values = _texts(message, "Requires-Python")
    try:
        return str(values[0]) if len(values) == 1 and SpecifierSet(values[0]) else None
    except InvalidSpecifier:
        # uv would drop the file for such a value, pip would ignore the value.
        _log.warning("Requires-Python %r is not a specifier set and is left out", values[0])
        return None


def _is_static(message: Message, field: str) -> bool:
    if field.lower() in (value.lower() for value in _texts(message, "Dynamic")):
        return False
    major, _, minor = "".join(_texts(message, "Metadata-Version")[:1]).partition(".")
    return major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) >= _STATIC_SINCE


_LINK = re.compile(r"https?://[^\s<>\"\\]+\Z", re.IGNORECASE)
_INDENT = re.compile(r"^(?: {8}| {7}\|)", re.MULTILINE)
_UNKNOWN = "UNKNOWN"
_CONTROL_CHARACTERS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True, slots=True)
class Description:
    """Texts as their authors wrote them, to be escaped by whoever shows them."""

    name: str = ""
    summary: str = ""
    author: str = ""
    license: str = ""
    requires_python: str = ""
    requires: tuple[str, ...] = ()
    links: tuple[tuple[str, str], ...] = ()
    """Labels and http(s) addresses."""
    text: str = ""
    """The long description."""
    content_type: str = ""


def describe(metadata: bytes) -> Description:
    """Read the fields; what is missing or malformed is empty."""
    text = metadata.decode("utf-8", "replace").replace("\r\n", "\n")
    message = HeaderParser().parsestr(text)
    return Description(
        name=_line(message, "Name"),
        summary=_line(message, "Summary"),
        author=_person(message, "Author") or _person(message, "Maintainer"),
        license=_line(message, "License-Expression") or _license(message),
        requires_python=_line(message, "Requires-Python"),
        requires=_lines(message, "Requires-Dist"),
        links=tuple(dict(_links(message)).items()),
        text=_long(message),
        content_type=_line(message, "Description-Content-Type"),
    )


def _lines(message: Message, field: str) -> tuple[str, ...]:
    values = (
        " ".join(_CONTROL_CHARACTERS.sub(" ", str(v)).split()) for v in message.get_all(field, [])
    )
    return tuple(value for value in values if value and value != _UNKNOWN)


def _line(message: Message, field: str) -> str:
    return next(iter(_lines(message, field)), "")


def _person(message: Message, role: str) -> str:
    """A name; an address only where there is none."""
    name, address = parseaddr(_line(message, f"{role}-email"))
    return _line(message, role) or name or address


def _license(message: Message) -> str:
    """The field may hold the whole text of a licence, whose first line then says which."""
    first = str(message.get("License", "")).strip().partition("\n")[0].strip()
    if first and first != _UNKNOWN:
        return _CONTROL_CHARACTERS.sub(" ", first)
    told = (each for each in _lines(message, "Classifier") if each.startswith("License ::"))
    return ", ".join(each.rpartition(":: ")[2] for each in told)


def _links(message: Message) -> list[tuple[str, str]]:
    pairs = [("Homepage", _line(message, "Home-page"))]
    for value in _lines(message, "Project-URL"):
        label, _, address = value.partition(",")
        pairs.append((label.strip(), address.strip()))
    return [(label, address) for label, address in pairs if label and _LINK.match(address)]


def _long(message: Message) -> str:
    """The body; in older files a field, whose further lines are indented."""
    body = str(message.get_payload()).strip("\n")
    if not body.strip():
        body = _INDENT.sub("", str(message.get("Description", "")))
    return (
        ""
        if body.strip() == _UNKNOWN
        else _CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", body)
    )


MAX_REQUIREMENTS = 500
"""Requirements of one distribution that are looked at."""
_SLICE = 8
"""Requirements that are read in one go."""
_LINE = re.compile(rb"^requires-dist:[ \t]*(.+?)\r?$", re.IGNORECASE | re.MULTILINE)
_BODY = re.compile(rb"\r?\n\r?\n")


class RequiredProject(NamedTuple):
    project: ProjectName
    specifier: SpecifierSet
    extras: frozenset[str]


async def required_projects(
    metadata: bytes, markers: Mapping[str, str], extras: Iterable[str] = ()
) -> list[RequiredProject]:
    """What is needed where the markers have these values and the extras are asked for."""
    header = _BODY.split(metadata, maxsplit=1)[0]
    wanted = ("", *extras)
    found = []
    for number, line in enumerate(_LINE.findall(header)[:MAX_REQUIREMENTS]):
        if number % _SLICE == _SLICE - 1:
            await asyncio.sleep(0)
        if len(wanted) == 1 and b"extra ==" in line:
            continue  # most lines of large projects; reading them costs more than a rare miss
        if (need := _need(line.decode("utf-8", "replace"), markers, wanted)) is not None:
            found.append(need)
    return found


def _need(text: str, markers: Mapping[str, str], extras: Iterable[str]) -> RequiredProject | None:
    try:
        requirement = _parsed(text)
        marker = requirement.marker
        if requirement.url or (
            marker and not any(marker.evaluate({**markers, "extra": extra}) for extra in extras)
        ):
            return None
        project = normalize(requirement.name)
    except (
        InvalidRequirement,
        InvalidMarker,
        UndefinedComparison,
        UndefinedEnvironmentName,
        RecursionError,
        ValueError,
    ):
        return None
    return RequiredProject(project, requirement.specifier, frozenset(requirement.extras))


@lru_cache(maxsize=2048)
def _parsed(text: str) -> Requirement:
    return Requirement(text)
