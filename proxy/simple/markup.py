"""Tags of an HTML document in one pass that takes linear time, whatever the bytes are.

It builds no tree and keeps no text, so hostile nesting, comments, entities and attributes cost
no more than their length. The standard library's parser has inputs of quadratic cost in most
releases of Python. Tokens end where the HTML standard (section 13.2.5) says; a tag or comment
that does not end is dropped with all that follows.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from html import unescape
from html.entities import html5
from itertools import islice
from typing import NamedTuple

MAX_TAGS = 3_000_000
"""Tags of a document; the largest honest listings have some twelve for each link."""
MAX_ATTRIBUTES = 256
"""Attributes of a tag that are looked at."""
MAX_VALUE = 64 * 1024
"""Bytes of an attribute's value; longer ones count as absent."""

_VALUE = rb"""\s*+=\s*+(?:"([^"]*+)"|'([^']*+)'|([^\s>]*+))"""
_ATTRIBUTE = re.compile(rb"(=?[^\s/>=]*+)(?:" + _VALUE + rb")?+[\s/]*+")
_TAG = re.compile(
    rb"<(?:(/?)([a-zA-Z][^\s/>]*+)"
    rb"((?:[\s/]++|=?[^\s/>=]++(?:" + re.sub(rb"\((?!\?)", b"(?:", _VALUE) + rb")?+|=)*+)(>?)"
    rb"|(!--)|[!?/][^>]*+(>?))"
)
_RAW = {
    name: re.compile(rb"</" + name + rb"(?=[\s/>])", re.IGNORECASE)
    for name in (b"script", b"style", b"textarea", b"xmp", b"iframe", b"noembed", b"noframes")
}
"""Elements whose content is text up to their own end tag."""
_REFERENCE = re.compile(
    r"&(?:#[0-9]{1,7}+;?|#[xX][0-9a-fA-F]{1,6}+;?|([a-zA-Z][a-zA-Z0-9]{1,31}+)(;|(?![=a-zA-Z0-9])))"
)


class TooManyTags(ValueError):
    """The document has more tags than any listing."""


class Tag(NamedTuple):
    name: bytes
    """In lower case; of an end tag with the slash before it."""
    attributes: bytes
    """As they are written."""
    start: int
    """Offset of its first byte in the document."""
    end: int
    """Offset of the first byte after it."""


def tags(document: bytes) -> Iterator[Tag]:
    """The tags outside of comments and scripts. Raises ``TooManyTags``."""
    at = 0
    for _ in range(MAX_TAGS):
        found = _TAG.search(document, at)
        if found is None:
            return
        slash, name, attributes, closed, comment, declared = found.groups()
        at = found.end()
        if name:
            if not closed:
                return
            name = name.lower()
            yield Tag(slash + name, attributes, found.start(), at)
            if not slash and name in _RAW:
                at = _end_of_raw(document, name, at)
        elif comment:
            at = document.find(b"-->", at - 2) + 3
            if at < 3:
                return
        elif not declared:
            return
    if _TAG.search(document, at):
        raise TooManyTags(f"more than {MAX_TAGS:,} tags")


def _end_of_raw(document: bytes, name: bytes, at: int) -> int:
    end = _RAW[name].search(document, at)
    return end.start() if end else len(document)


def attributes_of(tag: Tag, wanted: Collection[bytes]) -> dict[str, str]:
    """The wanted attributes, character references replaced; the first of a name counts."""
    found: dict[str, str] = {}
    for each in islice(_ATTRIBUTE.finditer(tag.attributes), MAX_ATTRIBUTES):
        name, double, single, bare = each.groups(b"")
        name = name.lower()
        value = double or single or bare
        if name in wanted and len(value) <= MAX_VALUE:
            found.setdefault(name.decode(), attribute_text(value.decode("utf-8", "replace")))
    return found


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
    """The text of a piece of a document that has no tags, without blanks around it."""
    return attribute_text(document.decode("utf-8", "replace")).strip()
