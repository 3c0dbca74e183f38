"""The few fields of METADATA and PKG-INFO (core metadata) that an index needs. Pure."""

from __future__ import annotations

import logging
import re
from email.message import Message
from email.parser import HeaderParser
from typing import NamedTuple

from packaging.specifiers import InvalidSpecifier, SpecifierSet

from proxy.distributions.filename import normal_version, same_version
from proxy.distributions.unusable import UnusableArchive
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
