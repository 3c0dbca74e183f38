"""Renders descriptions: a process of its own, which ``readme`` starts, feeds and ends.

Parsers of markup can be made to run for ever, to take all memory or to crash. This one reads
``[text, content type]`` as a line of JSON, and answers with a line of HTML in JSON, or null.
"""

from __future__ import annotations

import importlib
import json
import resource
import sys
from email.message import Message
from html import escape
from html.parser import HTMLParser

_MEMORY = 2**30
"""Bytes."""
_RENDERERS = {"text/markdown": "markdown", "text/x-rst": "rst"}


def main() -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    for line in sys.stdin:
        text, content_type = json.loads(line)
        print(json.dumps(rendered(text, content_type)), flush=True)


def rendered(text: str, content_type: str) -> str | None:
    """Safe HTML; None where the text is no such markup."""
    header = Message()
    header["Content-Type"] = content_type or "text/x-rst"  # what it meant before PEP 566
    kind = _RENDERERS.get(header.get_content_type())
    if kind is None:
        return None
    plain = kind == "markdown" and header.get_param("variant") == "CommonMark"
    options = {"variant": "CommonMark"} if plain else {}
    try:
        found = importlib.import_module(f"readme_renderer.{kind}").render(text, **options)
        return _without_pictures(found) if isinstance(found, str) else None
    except Exception:  # noqa: BLE001 (what is hostile makes parsers raise anything)
        return None


def _without_pictures(html: str) -> str:
    calm = _Calm(convert_charrefs=False)
    calm.feed(html)
    calm.close()
    return "".join(calm.pieces)


class _Calm(HTMLParser):
    """Leaves sanitized HTML as it is, but for pictures, of which the words remain.

    A page of the tree fetches nothing from elsewhere: where there is no network that would
    leave holes, and where there is one it would tell others who reads what.
    """

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            words = _words(dict(attrs))
            self.pieces.append(f'<span class="picture">{escape(words)}</span>' if words else "")
        else:
            self.pieces.append(self.get_starttag_text() or "")

    def handle_endtag(self, tag: str) -> None:
        self.pieces.append(f"</{tag}>")

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    def handle_entityref(self, name: str) -> None:
        self.pieces.append(f"&{name};")

    def handle_charref(self, name: str) -> None:
        self.pieces.append(f"&#{name};")


def _words(picture: dict[str, str | None]) -> str:
    """Where the author gave none, docutils gives the address, of which the end says enough."""
    words, address = picture.get("alt") or "", picture.get("src")
    return words if words != address else words.partition("?")[0].rpartition("/")[2]


if __name__ == "__main__":
    main()
