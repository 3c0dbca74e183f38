"""A process that renders descriptions; ``readme`` starts, feeds and ends it.

Hostile text can make a markup parser hang, exhaust memory or crash. Each input line is
``[text, content type]`` as JSON, each output line HTML as a JSON string, or null.
"""

from __future__ import annotations

import importlib
import json
import re
import resource
import sys
from email.message import Message
from html import escape
from html.parser import HTMLParser

_MAX_MEMORY = 2**30
"""Bytes."""
_RENDERERS = {"text/markdown": "markdown", "text/x-rst": "rst"}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MAX_MEMORY, _MAX_MEMORY))
    for line in sys.stdin:
        text, content_type = json.loads(line)
        print(json.dumps(render(text, content_type)), flush=True)


def render(text: str, content_type: str) -> str | None:
    """Safe HTML; None if the text cannot be rendered."""
    header = Message()
    header["Content-Type"] = content_type or "text/x-rst"  # the default before PEP 566
    kind = _RENDERERS.get(header.get_content_type())
    if kind is None:
        return None
    plain = kind == "markdown" and header.get_param("variant") == "CommonMark"
    options = {"variant": "CommonMark"} if plain else {}
    try:
        html = importlib.import_module(f"readme_renderer.{kind}").render(text, **options)
        return _calmed(html) if isinstance(html, str) else None
    except Exception:  # noqa: BLE001 (hostile text makes parsers raise anything)
        return None


def _calmed(html: str) -> str:
    """The HTML as a part of a page of ours: see ``_Calmer``."""
    calmer = _Calmer()
    calmer.feed(html)
    calmer.close()
    return _EMPTY_LINK.sub("", "".join(calmer.pieces))


_EMPTY_LINK = re.compile(r"<a(?: [^>]*)?>\s*</a>")
_HEADING = re.compile(r"h[1-6]\Z")
_OUTSIDE = re.compile(r"(?:https?://|mailto:)[^\s\\]+\Z", re.IGNORECASE)
_ALLOWED_ATTRIBUTES = {
    "title",
    "align",
    "colspan",
    "rowspan",
    "start",
    "datetime",
    "open",
    "reversed",
}
_CLASSES = re.compile(
    r"(?:[a-z][a-z0-9]{0,2}|docutils|literal|highlight|code|alert|admonition|admonition-title|note"
    r"|warning|tip|picture|footnote|field-list|option-list)\Z"
)
"""Of the highlighter (three characters at most) and of the renderers."""
_OURS = re.compile(r"p[1-5]\Z")
PREFIX = "readme-"


class _Calmer(HTMLParser):
    """Makes sanitized HTML a part of a page: it looks like a README, and like nothing else there.

    Images become their texts: a page loads nothing from elsewhere, which would be missing without
    a network, and would disclose with one who reads which page. Headings begin at the third
    level and leave out none. Names of elements get a prefix, classes of ours are dropped, and so
    are relative addresses, which would lead into this server.
    """

    def __init__(self) -> None:
        super().__init__(convert_charrefs=False)
        self.pieces: list[str] = []
        self._levels: list[int] = []
        self._open_headings: list[str] = []
        self._names: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "img":
            words = _image_text(given)
            self.pieces.append(f'<span class="picture">{escape(words)}</span>' if words else "")
        elif tag == "input":
            self.pieces.append(
                "\N{BALLOT BOX WITH CHECK} " if "checked" in given else "\N{BALLOT BOX} "
            )
        else:
            self.pieces.append(f"<{self._named(tag)}{self._attributes(tag, given)}>")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)

    def handle_endtag(self, tag: str) -> None:
        if tag in ("img", "input"):
            return
        if _HEADING.match(tag):
            tag = self._open_headings.pop() if self._open_headings else "h3"
        self.pieces.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_entityref(self, name: str) -> None:
        self.pieces.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.pieces.append(f"&#{name};")

    def _named(self, tag: str) -> str:
        if not _HEADING.match(tag):
            return tag
        level = int(tag[1])
        while self._levels and self._levels[-1] >= level:
            self._levels.pop()
        self._levels.append(level)
        self._open_headings.append(f"h{min(2 + len(self._levels), 6)}")
        return self._open_headings[-1]

    def _attributes(self, tag: str, given: dict[str, str | None]) -> str:
        kept = {name: value or "" for name, value in given.items() if name in _ALLOWED_ATTRIBUTES}
        if classes := " ".join(filter(_is_foreign, (given.get("class") or "").split())):
            kept["class"] = classes
        name = given.get("id")
        if name and name not in self._names:
            self._names.add(name)
            kept["id"] = PREFIX + name
        if tag in ("pre", "table"):
            kept["tabindex"] = "0"  # what scrolls has to be reached by keys
        address = (given.get("href") or "").strip()
        if address.startswith("#"):
            kept["href"] = f"#{PREFIX}{address[1:]}"
        elif _OUTSIDE.match(address):
            kept |= {"href": address, "rel": "nofollow noopener noreferrer"}
        return "".join(f' {key}="{escape(value)}"' for key, value in kept.items())


def _is_foreign(name: str) -> bool:
    """Whether the class is one of a README, and none that pages of ours use."""
    return bool(_CLASSES.match(name)) and not _OURS.match(name)


def _image_text(picture: dict[str, str | None]) -> str:
    """The alternative text; if that is the address, as docutils sets it, the file name in it."""
    words, address = picture.get("alt") or "", picture.get("src")
    return words if words != address else words.partition("?")[0].rpartition("/")[2]


if __name__ == "__main__":
    main()
