"""Finds the tags of an HTML document in linear time, whatever the bytes, and reads attributes.

No tree is built and no text is kept, so hostile nesting, comments and references cost no more
than their length; a parser of whole documents has inputs of quadratic cost in most releases of
Python. Tags and comments end where the HTML standard (section 13.2.5) says; one that does not
end is dropped with all that follows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from html import unescape
from html.entities import html5
from typing import NamedTuple

MAX_TAGS = 3_000_000
"""Tags of a document; the largest honest listings have about twelve for each link."""
MAX_VALUE = 64 * 1024
"""Bytes of an attribute's value; longer ones count as absent."""
MAX_UNUSUAL_TAGS = 20_000
"""Tags of unusual form whose attributes are read in one document."""
MAX_UNUSUAL_TAG = 4096
"""Bytes of the attributes of such a tag; longer ones count as absent."""

_VALUE = rb"""\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]*+))"""
_PLAIN_ATTRIBUTES = re.compile(rb"""(?:\s+[a-zA-Z][\w:.-]*+(?:="[^"]*+"|='[^']*+')?+)*+[\s/]*+""")
_PLAIN_ATTRIBUTE = re.compile(rb"""\s([a-zA-Z][\w:.-]*+)(?:="([^"]*+)"|='([^']*+)')?+""")
"""An attribute as nearly all servers write it: a name, alone or with a value in quotes."""
_HTML_TAG = re.compile(
    rb"<(?:(/?)([a-zA-Z][^\s/>]*+)"
    rb"((?:[\s/]++|=?[^\s/>=]++(?:" + re.sub(rb"\((?!\?)", b"(?:", _VALUE) + rb")?+|=)*+)(>?)"
    rb"|(!--)|[!?/][^>]*+(>?))"
)
_RAW_TEXT_ELEMENTS = {
    name: re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE)
    for name in (b"script", b"style", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes")
}
"""Elements whose content is text up to the end tag of the same name."""
_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,7}+;?|#[xX][0-9a-fA-F]{1,6}+;?|([a-zA-Z][a-zA-Z0-9]{1,31}+)(;|(?![=a-zA-Z0-9])))"
)


class TooManyTags(ValueError):
    """The document has more tags than any listing."""


class Tag(NamedTuple):
    name: bytes
    """In lower case; of an end tag with the slash before the name."""
    attributes: bytes
    """As written in the document."""
    start: int
    """Offset of its first byte in the document."""
    end: int
    """Offset of the first byte after it."""


def tags(document: bytes) -> Iterator[Tag]:
    """The tags outside comments and scripts. Raises ``TooManyTags``."""
    at = 0
    for _ in range(MAX_TAGS):
        found = _HTML_TAG.search(document, at)
        if found is None:
            return
        slash, name, attributes, closed, comment, declared = found.groups()
        at = found.end()
        if name:
            if not closed:
                return
            name = name.lower()
            yield Tag(slash + name, attributes, found.start(), at)
            if not slash and name in _RAW_TEXT_ELEMENTS:
                at = _end_of_raw(document, name, at)
        elif comment:
            at = document.find(b"-->", at - 2) + 3
            if at < 3:
                return
        elif not declared:
            return
    if _HTML_TAG.search(document, at):
        raise TooManyTags(f"more than {MAX_TAGS:,} tags")


def _end_of_raw(document: bytes, name: bytes, at: int) -> int:
    end = _RAW_TEXT_ELEMENTS[name].search(document, at)
    return end.start() if end else len(document)


class AttributeReader:
    """Reads the attributes of the tags of one document.

    A pattern reads tags in the form that nearly all servers write. BeautifulSoup reads all
    others, one at a time, each in 40 microseconds and more; so their size and number are bounded.
    """

    def __init__(self) -> None:
        self._unusual_tags = 0

    def read(self, tag: Tag, wanted: Collection[bytes]) -> dict[str, str]:
        """The wanted attributes, character references replaced; the first of a name counts.

        Raises ``TooManyTags``.
        """
        if not _PLAIN_ATTRIBUTES.fullmatch(tag.attributes):
            return self._read_unusual(tag.attributes, wanted)
        found: dict[str, str] = {}
        for name, double, single in _PLAIN_ATTRIBUTE.findall(tag.attributes):
            value = double or single
            if name.lower() in wanted and len(value) <= MAX_VALUE:
                text = attribute_text(value.decode("utf-8", "replace"))
                found.setdefault(name.lower().decode(), text)
        return found

    def _read_unusual(self, attributes: bytes, wanted: Collection[bytes]) -> dict[str, str]:
        if len(attributes) > MAX_UNUSUAL_TAG:
            return {}
        self._unusual_tags += 1 + len(attributes) // 256  # a long tag takes as long as several
        if self._unusual_tags > MAX_UNUSUAL_TAGS:
            raise TooManyTags(f"more than {MAX_UNUSUAL_TAGS:,} tags of unusual form")
        found = _soup_attributes(attributes.decode("utf-8", "replace"))
        return {
            name: attribute_text(value)
            for name, value in found.items()
            if isinstance(value, str) and name.encode() in wanted
        }


def _soup_attributes(attributes: str) -> Mapping[str, object]:
    """Attributes of any form; character references in their values are not replaced yet.

    Older releases of Python would replace ``&reg`` in an address with ``&region=x``.
    """
    from bs4 import BeautifulSoup

    soup = BeautifulSoup(
        f"<a{attributes}>".replace("&", "&amp;"),
        "html.parser",
        multi_valued_attributes=None,
        on_duplicate_attribute="ignore",
    )
    tag = soup.find(True)
    return tag.attrs if tag else {}


def attribute_text(value: str) -> str:
    """An attribute's value with its character references replaced.

    A name without a semicolon counts only where no letter, digit or ``=`` follows it: in
    ``?a=1&region=x`` there is none.
    """
    return _REFERENCE.sub(_character, value) if "&" in value else value


def _character(reference: re.Match[str]) -> str:
    name, end = reference.groups()
    return unescape(reference[0]) if name is None or name + end in html5 else reference[0]


def plain_text(document: bytes) -> str:
    """The text of a piece of a document without tags, stripped."""
    return attribute_text(document.decode("utf-8", "replace")).strip()
