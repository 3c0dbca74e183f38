"""What METADATA and PKG-INFO (core metadata) tell people about a version. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from email.message import Message
from email.parser import HeaderParser
from email.utils import parseaddr

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
