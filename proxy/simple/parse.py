"""Parses project pages of any server, in JSON or HTML."""

from __future__ import annotations

import codecs

from proxy.model import ProjectName, ProjectPage
from proxy.simple.page import drop_refused_hosts
from proxy.simple.parse_json import parse_json

__all__ = ["drop_refused_hosts", "parse_page"]


def parse_page(
    project: ProjectName, body: bytes, content_type: str, url: str, source: str
) -> ProjectPage:
    """The page in ``body``, also if the server sent a wrong content type.

    ``url`` is the address after redirects; links are relative to it. ``source`` is the name of
    the index. Files of other projects, files with unsafe names or addresses, and malformed
    values are left out. Raises ``UnreadablePage``, and nothing else whatever the bytes.
    """
    if is_json(content_type, body):
        return parse_json(project, body, url, source)
    from proxy.simple.parse_html import parse_html  # PyPI and most others send JSON

    return parse_html(project, body, content_type.lower().partition(";")[2], url, source)


def is_json(content_type: str, body: bytes) -> bool:
    """Whether to read JSON: by the content type, or by the first character if that is neither."""
    media_type = content_type.lower().partition(";")[0]
    first = body[:1024].removeprefix(codecs.BOM_UTF8).lstrip()[:1]
    return "json" in media_type or ("html" not in media_type and first == b"{")
