"""Pages and project lists as HTML (PEP 503, frozen at API version 1.4 by PEP 833)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import lru_cache

from proxy.model import PROVENANCE, File, ProjectName, ProjectPage, ProjectStatus
from proxy.simple.links import Links, batches

API_VERSION = "1.4"
"""For good: what came later is in JSON only."""

_FRAGMENTS = ("sha256", "sha512", "sha384", "blake2b", "md5")
"""Best first. Only these: a client rejects the whole page at the sight of a ``#sha1=``."""

_SPECIAL = re.compile(r"[&<>\"'\x00-\x1f]").search
_ESCAPES = {
    **{ord(c): f"&#x{ord(c):x};" for c in "'\t\n\r"},
    **{code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\t\n\r"},
    **str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}),
}
"""Line breaks too: some clients read anchors by regular expression, line by line."""


def page_html(page: ProjectPage, links: Links, provenance: Links | None = None) -> bytes:
    """The page in HTML, one anchor per line. What only JSON has is left out.

    ``provenance`` as in ``page_json``.
    """
    return b"".join(html_pieces(page, links, provenance))


def html_pieces(
    page: ProjectPage, links: Links, provenance: Links | None = None
) -> Iterator[bytes]:
    """The same in pieces that are small, of however many files: the start, files, the end."""
    yield _bytes(_html_start(f"Links for {page.project}", _metas(page.status)))
    for files in batches(page.files):
        urls = links(page.project, files)
        proofs = provenance(page.project, files) if provenance else urls
        yield _bytes("".join(map(_anchor, files, urls, proofs)))
    yield _bytes(_END)


def projects_html(names: Iterable[ProjectName]) -> bytes:
    """The list of projects in HTML, sorted, with addresses relative to the list."""
    anchors = "".join(f'    <a href="{name}/">{name}</a><br>\n' for name in sorted(names))
    return _bytes(_html_start("Simple index") + anchors + _END)


def _anchor(file: File, url: str, proof: str) -> str:
    url = _escape(url)
    known = _checksum(file.hashes)
    href = f"{url}#{known}" if known else url
    return f'    <a href="{href}"{_attributes(file, proof)}>{_escape(file.filename)}</a><br>\n'


def _attributes(file: File, proof: str) -> str:
    text = ""
    if file.requires_python is not None:
        text += f' data-requires-python="{_escape_again(file.requires_python)}"'
    if file.metadata:
        known = "true" if file.metadata is True else _checksum(file.metadata) or "true"
        text += f' data-core-metadata="{known}" data-dist-info-metadata="{known}"'
    if file.yanked:
        reason = "" if file.yanked is True else _escape(file.yanked)
        text += f' data-yanked="{reason}"'
    if file.provenance:
        text += f' data-provenance="{_escape(proof + PROVENANCE)}"'
    if file.size is not None:
        text += f' data-size="{file.size}"'
    if file.uploaded:
        text += f' data-upload-time="{_escape(file.uploaded)}"'
    return text


def _checksum(hashes: Mapping[str, str]) -> str:
    """``<algorithm>=<hex>`` of the best hash that all clients can read, or nothing."""
    for name in _FRAGMENTS:
        if name in hashes:
            return f"{name}={_escape(hashes[name])}"
    return ""


def _escape(text: str) -> str:
    if text.isalnum() or not _SPECIAL(text):
        return text
    return text.translate(_ESCAPES)


_escape_again = lru_cache(maxsize=1024)(_escape)
"""For what many files of a page share."""


def _metas(status: ProjectStatus | None) -> str:
    if status is None:
        return ""
    metas = _meta("project-status", status.status)
    return metas + (_meta("project-status-reason", status.reason) if status.reason else "")


def _meta(name: str, content: str) -> str:
    return f'    <meta name="pypi:{name}" content="{_escape(content)}">\n'


def _html_start(title: str, metas: str = "") -> str:
    return (
        "<!DOCTYPE html>\n"
        '<html lang="en">\n'
        "  <head>\n"
        f"{_meta('repository-version', API_VERSION)}{metas}"
        f"    <title>{_escape(title)}</title>\n"
        "  </head>\n"
        "  <body>\n"
        f"    <h1>{_escape(title)}</h1>\n"
    )


_END = "  </body>\n</html>\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")
