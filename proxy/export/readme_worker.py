"""A process that renders descriptions; ``readme`` starts, feeds and ends it.

Hostile text can make a markup parser hang, exhaust memory or crash. Each input line is
``[text, content type]`` as JSON, each output line HTML as a JSON string, or null.
"""

from __future__ import annotations

import importlib
import json
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
        return _without_images(html) if isinstance(html, str) else None
    except Exception:  # noqa: BLE001 (hostile text makes parsers raise anything)
        return None


def _without_images(html: str) -> str:
    remover = _ImageRemover(convert_charrefs=False)
    remover.feed(html)
    remover.close()
    return "".join(remover.pieces)


class _ImageRemover(HTMLParser):
    """Replaces images by their texts; all other HTML stays as it is.

    A page of the tree loads nothing from elsewhere: without a network images would be missing,
    and with one they would disclose who reads which page.
    """

    def __init__(self, *, convert_charrefs: bool) -> None:
        super().__init__(convert_charrefs=convert_charrefs)
        self.pieces: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            words = _image_text(dict(attrs))
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


def _image_text(picture: dict[str, str | None]) -> str:
    """The alternative text; if that is the address, as docutils sets it, the file name in it."""
    words, address = picture.get("alt") or "", picture.get("src")
    return words if words != address else words.partition("?")[0].rpartition("/")[2]


if __name__ == "__main__":
    main()
