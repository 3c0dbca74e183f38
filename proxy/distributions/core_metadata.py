"""Core metadata (METADATA and PKG-INFO) for indexes, prefetching and pages for people.

``packaging.metadata`` reads the fields; nothing here reads files. Slow modules are imported inside
functions: most processes read no metadata, and none does at its start.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from proxy import late_pattern
from proxy.distributions.archive_limits import UnusableArchive
from proxy.distributions.filenames import normalize_version, same_version
from proxy.model import ProjectName, normalize

if TYPE_CHECKING:
    from packaging.metadata import RawMetadata
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

log = logging.getLogger(__name__)

MAX_FIELDS = 20_000
"""Fields of one file; the largest honest files have about 2,000 ``Requires-Dist``."""
MAX_FIELD_NAMES = 100
"""Different spellings of field names in one file. The parser's time grows with fields x names."""
STATIC_SINCE = (2, 2)
"""Metadata version from which building an sdist does not change what it says (PEP 643)."""
MAX_REQUIREMENTS = 500
"""Requirements of one distribution that are read."""
REQUIREMENTS_PER_TURN = 8
"""Requirements that are read before other tasks of the event loop have their turn."""

_FIELD_NAME = late_pattern(r"^[!-9;-~]*(?=:)", re.MULTILINE)
_REQUIRES_DIST = re.compile(
    r"^Requires-Dist:[ \t]*(.*(?:\n[ \t].*)*)", re.MULTILINE | re.IGNORECASE
)
_NOT_TEXT = late_pattern(r"[\x00-\x1f\x7f-\x9f\ufffd]")
_CONTROL_CHARACTERS = late_pattern(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LINK = late_pattern(r"https?://[^\s<>\"\\]+\Z", re.IGNORECASE)
_INDENT = late_pattern(r"^(?: {8}| {7}\|)", re.MULTILINE)
_UNKNOWN = "UNKNOWN"


def _read(metadata: bytes) -> tuple[RawMetadata, str]:
    """The fields, and the text after them. Bytes that are not UTF-8 become U+FFFD.

    A field that may stand once and is repeated is left out. Raises ``UnusableArchive`` for more
    fields than any distribution has.
    """
    from packaging.metadata import parse_email

    head, body = _head_and_body(metadata)
    names = _FIELD_NAME.findall(head)
    if len(names) > MAX_FIELDS or len(set(names)) > MAX_FIELD_NAMES:
        raise UnusableArchive("its metadata have too many fields")
    # The first of several types counts: no field makes the parser look for the parts of a mail.
    fields, _ = parse_email(f"Content-Type: text/plain\n{head}")
    return fields, body


def _head_and_body(metadata: bytes) -> tuple[str, str]:
    text = metadata.decode("utf-8", "replace").replace("\r\n", "\n").replace("\r", "\n")
    head, _, body = text.partition("\n\n")
    return head, body


def core_fields(metadata: bytes) -> RawMetadata:
    """All fields as ``packaging.metadata`` names them, with the long description.

    Texts are as their authors wrote them. Empty if there are more fields than any distribution has.
    """
    try:
        fields, body = _read(metadata)
    except UnusableArchive:
        return {}
    fields["description"] = _long_description(fields, body)
    return fields


class CoreMetadata(NamedTuple):
    project: ProjectName
    version: str
    """Normalized (PEP 440) if possible."""
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
    fields, _ = _read(metadata)
    try:
        project = normalize(_one_line(fields.get("name")) or "")
    except ValueError:
        raise UnusableArchive("its metadata name no project") from None
    version = _one_line(fields.get("version"))
    if version is None:
        raise UnusableArchive("its metadata have no single Version")
    binding = not sdist or _is_static("requires-python", fields)
    specifier = _requires_python(fields) if binding else None
    return CoreMetadata(project, normalize_version(version), specifier)


def requires_python_of(
    metadata: bytes, project: ProjectName, version: str, *, sdist: bool = False
) -> str | None:
    """``Requires-Python`` of a file whose name says ``project`` and ``version``.

    Raises ``UnusableArchive`` if the metadata belong to another distribution.
    """
    found = parse_metadata(metadata, sdist=sdist)
    found.check(project, version)
    return found.requires_python


def _one_line(value: str | None) -> str | None:
    """The value unfolded; None if it is empty or has characters that are no text."""
    line = " ".join((value or "").split())
    return None if not line or _NOT_TEXT.search(line) else line


def _requires_python(fields: RawMetadata) -> str | None:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    value = _one_line(fields.get("requires_python"))
    try:
        return value if value and SpecifierSet(value) else None
    except InvalidSpecifier:
        # uv would drop the file for such a value, pip would ignore the value.
        log.warning("Requires-Python %r is not a specifier set and is left out", value)
        return None


def _is_static(field: str, fields: RawMetadata) -> bool:
    if field in (value.strip().lower() for value in fields.get("dynamic", ())):
        return False
    major, _, minor = (_one_line(fields.get("metadata_version")) or "").partition(".")
    return major.isdecimal() and minor.isdecimal() and (int(major), int(minor)) >= STATIC_SINCE


@dataclass(frozen=True, slots=True)
class Description:
    """Texts as their authors wrote them; a page has to escape them."""

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
    """The fields that a page for people shows; a missing or malformed field is empty."""
    try:
        fields, body = _read(metadata)
    except UnusableArchive:
        return Description()
    return Description(
        name=_shown(fields.get("name")),
        summary=_shown(fields.get("summary")),
        author=_author(fields),
        license=_license(fields),
        requires_python=_shown(fields.get("requires_python")),
        requires=tuple(filter(None, map(_shown, fields.get("requires_dist", ())))),
        links=tuple(_links(fields)),
        text=_long_description(fields, body),
        content_type=_shown(fields.get("description_content_type")),
    )


def _shown(value: str | None) -> str:
    """The value in one line without control characters; older tools wrote UNKNOWN for nothing."""
    line = " ".join(_CONTROL_CHARACTERS.sub(" ", value or "").split())
    return "" if line == _UNKNOWN else line


def _author(fields: RawMetadata) -> str:
    """A name; an address only where there is no name."""
    author = _person(fields.get("author"), fields.get("author_email"))
    return author or _person(fields.get("maintainer"), fields.get("maintainer_email"))


def _person(name: str | None, email: str | None) -> str:
    from email.utils import parseaddr

    email_name, address = parseaddr(_shown(email))
    return _shown(name) or email_name or address


def _license(fields: RawMetadata) -> str:
    """An expression, the first line of a licence's text, or what the classifiers say."""
    first = (fields.get("license") or "").strip().partition("\n")[0]
    classifiers = map(_shown, fields.get("classifiers", ()))
    named = (each.rpartition(":: ")[2] for each in classifiers if each.startswith("License ::"))
    return _shown(fields.get("license_expression")) or _shown(first) or ", ".join(named)


def _links(fields: RawMetadata) -> Iterator[tuple[str, str]]:
    links = {"Homepage": fields.get("home_page", ""), **fields.get("project_urls", {})}
    shown = ((_shown(label), _shown(url)) for label, url in links.items())
    yield from ((label, url) for label, url in shown if label and _LINK.match(url))


def _long_description(fields: RawMetadata, body: str) -> str:
    """The body; in older files a field, whose further lines are indented."""
    text = body.strip("\n")
    if not text.strip():
        text = _INDENT.sub("", fields.get("description", ""))
    if text.strip() == _UNKNOWN:
        return ""
    return _CONTROL_CHARACTERS.sub("\N{REPLACEMENT CHARACTER}", text)


class RequiredProject(NamedTuple):
    """A requirement of a distribution (PEP 508)."""

    project: ProjectName
    specifier: SpecifierSet
    extras: frozenset[str]


async def required_projects(
    metadata: bytes, markers: Mapping[str, str], extras: Iterable[str] = ()
) -> list[RequiredProject]:
    """The requirements that hold where the markers have these values and the extras are requested.

    Requirements that cannot be read, and those by address, are left out.
    """
    from asyncio import sleep

    head, _ = _head_and_body(metadata)
    requirements = _REQUIRES_DIST.findall(head)  # a parser of mails takes twenty times as long
    wanted = ("", *extras)
    found = []
    for number, text in enumerate(requirements[:MAX_REQUIREMENTS]):
        if number % REQUIREMENTS_PER_TURN == REQUIREMENTS_PER_TURN - 1:
            await sleep(0)
        if len(wanted) == 1 and "extra ==" in text:
            continue  # most lines of large projects; reading them costs more than a rare miss
        if (need := _required_project(text, markers, wanted)) is not None:
            found.append(need)
    return found


def _required_project(
    text: str, markers: Mapping[str, str], extras: Iterable[str]
) -> RequiredProject | None:
    try:
        requirement = _requirement(text)
        marker = requirement.marker
        if requirement.url or (
            marker and not any(marker.evaluate({**markers, "extra": extra}) for extra in extras)
        ):
            return None
        project = normalize(requirement.name)
    except (ValueError, KeyError, RecursionError):  # also markers of names that do not exist
        return None
    return RequiredProject(project, requirement.specifier, frozenset(requirement.extras))


@lru_cache(maxsize=2048)
def _requirement(text: str) -> Requirement:
    """Raises ``InvalidRequirement``, a ``ValueError``."""
    from packaging.requirements import Requirement

    return Requirement(text)
