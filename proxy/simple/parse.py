"""Project pages as some server sent them, to our own form. Fetching them happens elsewhere."""

from __future__ import annotations

import codecs

from proxy.model import ProjectName, ProjectPage
from proxy.simple.page import drop_refused_hosts
from proxy.simple.parse_html import parse_html
from proxy.simple.parse_json import parse_json

__all__ = ["drop_refused_hosts", "parse_page"]


def parse_page(
    project: ProjectName, body: bytes, content_type: str, url: str, source: str
) -> ProjectPage:
    """The page in ``body``, whatever the server called it.

    ``url`` is where it was found in the end, after redirects; links are relative to it.
    ``source`` names the index. Files that are not the project's, or whose names or addresses
    cannot be trusted, are left out, and so is every value that is malformed. Raises
    ``UnreadablePage``, and nothing else whatever the bytes.
    """
    if is_json(content_type, body):
        return parse_json(project, body, url, source)
    return parse_html(project, body, content_type.lower().partition(";")[2], url, source)


def is_json(content_type: str, body: bytes) -> bool:
    """By the type that the server names; where this is neither, by the first character."""
    media_type = content_type.lower().partition(";")[0]
    first = body[:1024].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return "json" in media_type or ("html" not in media_type and first == b"{")
