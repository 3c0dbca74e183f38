"""Renders pages and lists of projects as JSON (PEP 691) and HTML (PEP 503), and their links.

HTML is frozen at API version 1.4 (PEP 833): later fields are in JSON only.
"""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any
from urllib.parse import quote

import msgspec

from proxy.model import PROVENANCE, SIGNATURE, File, ProjectName, ProjectPage, ProjectStatus, Sha256

__all__ = [
    "Links",
    "absolute_links",
    "html_pieces",
    "json_pieces",
    "page_html",
    "page_json",
    "projects_html",
    "projects_json",
    "relative_links",
]

FILES_PER_PIECE = 500
"""Files that are rendered as one piece."""
API_VERSION = "1.4"
_WITHOUT_SIZES = "1.0"  # ``size`` is required from 1.1 on


class _File(msgspec.Struct, gc=False, omit_defaults=True, rename="kebab"):
    filename: str
    url: str
    hashes: Mapping[str, str]
    requires_python: str | None = None
    core_metadata: bool | Mapping[str, str] = False
    size: int | None = None
    upload_time: str | None = None
    yanked: bool | str = False
    provenance: str | None = None
    gpg_sig: bool = False


_FILE_KEYS = frozenset((*_File.__struct_encode_fields__, "dist-info-metadata"))
_PAGE_KEYS = frozenset(("meta", "name", "versions", "project-status", "files"))


def _encode_mapping(value: Any) -> Any:
    """Encode mappings other than ``dict``, which msgspec does not encode itself."""
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"not JSON: {type(value).__name__}")


_ENCODER = msgspec.json.Encoder(enc_hook=_encode_mapping)


def page_json(page: ProjectPage, links: Links, provenance: Links | None = None) -> bytes:
    """The page in JSON. Unknown optional values are left out: ``null`` breaks clients.

    ``provenance``: the links for provenance addresses, if they differ from ``links``.
    """
    return b"".join(json_pieces(page, links, provenance))


def json_pieces(
    page: ProjectPage, links: Links, provenance: Links | None = None
) -> Iterator[bytes]:
    """The same in small pieces, however many files there are: the start, files, the end."""
    yield _ENCODER.encode(_start(page))[:-1] + b',"files":['
    between = b""
    for files in batches(page.files):
        urls = links(page.project, files)
        proofs = provenance(page.project, files) if provenance else urls
        yield between + _ENCODER.encode(list(map(_file, files, urls, proofs)))[1:-1]
        between = b","
    extra = _other_keys(page.extra, _PAGE_KEYS)
    yield b"]," + _ENCODER.encode(extra)[1:] if extra else b"]}"


def _start(page: ProjectPage) -> dict[str, Any]:
    sized = all(file.size is not None for file in page.files)
    body: dict[str, Any] = {
        "meta": {"api-version": API_VERSION if sized else _WITHOUT_SIZES},
        "name": page.project,
        "versions": page.versions,
    }
    body["meta"] |= _other_keys(page.meta, body["meta"])
    if page.status is not None:
        body["project-status"] = _status(page.status)
    return body


def _file(file: File, url: str, proof: str) -> _File | dict[str, Any]:
    metadata = file.metadata
    known = _File(
        file.filename,
        url,
        file.hashes,
        file.requires_python,
        metadata if type(metadata) is Sha256 else metadata or False,
        file.size,
        file.uploaded,
        file.yanked or False,
        proof + PROVENANCE if file.provenance else None,
        SIGNATURE in file.beside,
    )
    if not file.extra:
        return known
    plain: dict[str, Any] = msgspec.to_builtins(known, enc_hook=_encode_mapping)
    return plain | _other_keys(file.extra, _FILE_KEYS)


def _status(status: ProjectStatus) -> dict[str, str]:
    reason = {"reason": status.reason} if status.reason else {}
    return {"status": status.status, **reason}


def _other_keys(extra: Mapping[str, Any], known: Iterable[str]) -> dict[str, Any]:
    return {key: value for key, value in extra.items() if key not in known}


def projects_json(names: Iterable[ProjectName]) -> bytes:
    """The list of projects in JSON, sorted."""
    return b"".join(projects_json_pieces(sorted(names)))


def projects_json_pieces(names: Iterable[ProjectName], about: str = "") -> Iterator[bytes]:
    """The same in small pieces; ``names`` have to be sorted. ``about``: a sentence for people."""
    meta = {"api-version": API_VERSION} | ({"_about": about} if about else {})
    yield b'{"meta":' + _ENCODER.encode(meta) + b',"projects":['
    between = b""
    for some in _portions(names):
        yield between + _ENCODER.encode([{"name": name} for name in some])[1:-1]
        between = b","
    yield b"]}"


def _portions(names: Iterable[ProjectName]) -> Iterator[list[ProjectName]]:
    left = iter(names)
    while some := list(islice(left, 1000)):
        yield some


_FRAGMENTS = ("sha256", "sha512", "sha384", "blake2b", "md5")
"""Best first. No others: some clients reject a whole page because of one ``#sha1=``."""

_find_special = re.compile(r"[&<>\"'\x00-\x1f]").search
_ESCAPES = {
    **{ord(c): f"&#x{ord(c):x};" for c in "'\t\n\r"},
    **{code: "\N{REPLACEMENT CHARACTER}" for code in range(32) if chr(code) not in "\t\n\r"},
    **str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}),
}
"""Line breaks too: some clients read anchors with a regular expression, line by line."""


def page_html(page: ProjectPage, links: Links, provenance: Links | None = None) -> bytes:
    """The page in HTML, one anchor per line. Fields that only JSON has are left out.

    ``provenance`` as in ``page_json``.
    """
    return b"".join(html_pieces(page, links, provenance))


def html_pieces(
    page: ProjectPage, links: Links, provenance: Links | None = None
) -> Iterator[bytes]:
    """The same in small pieces, however many files there are: the start, files, the end."""
    yield _bytes(_html_start(f"Links for {page.project}", _metas(page.status)))
    signed = any(SIGNATURE in file.beside for file in page.files)
    anchor = _signed_anchor if signed else _anchor
    for files in batches(page.files):
        urls = links(page.project, files)
        proofs = provenance(page.project, files) if provenance else urls
        yield _bytes("".join(map(anchor, files, urls, proofs)))
    yield _bytes(_HTML_END)


def projects_html(names: Iterable[ProjectName]) -> bytes:
    """The list of projects in HTML, sorted, with addresses relative to the list."""
    return b"".join(projects_html_pieces(sorted(names)))


def projects_html_pieces(names: Iterable[ProjectName], about: str = "") -> Iterator[bytes]:
    """The same in small pieces; ``names`` have to be sorted. ``about``: a sentence for people."""
    yield _bytes(_html_start("Simple index") + (f"    <p>{_escape(about)}</p>\n" if about else ""))
    for some in _portions(names):
        yield _bytes("".join(f'    <a href="{name}/">{name}</a><br>\n' for name in some))
    yield _bytes(_HTML_END)


def _anchor(file: File, url: str, proof: str, more: str = "") -> str:
    url = _escape(url)
    known = _checksum(file.hashes)
    href = f"{url}#{known}" if known else url
    attributes = _attributes(file, proof) + more
    return f'    <a href="{href}"{attributes}>{_escape(file.filename)}</a><br>\n'


def _signed_anchor(file: File, url: str, proof: str) -> str:
    """On a page with a signature every anchor says whether its file has one (PEP 503)."""
    signed = str(SIGNATURE in file.beside).lower()
    return _anchor(file, url, proof, f' data-gpg-sig="{signed}"')


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
    if text.isalnum() or not _find_special(text):
        return text
    return text.translate(_ESCAPES)


_escape_again = lru_cache(maxsize=1024)(_escape)
"""For values that many files of a page share."""


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


_HTML_END = "  </body>\n</html>\n"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


Links = Callable[[ProjectName, Sequence[File]], list[str]]
"""The addresses of files for clients, without fragment or query.

For many files at a time, since 10,000 calls would take longer than all other rendering.
"""

_UNRESERVED = (string.ascii_letters + string.digits + "-._~").encode()  # RFC 3986, section 2.3


def relative_links(project: ProjectName, files: Sequence[File]) -> list[str]:
    """Addresses relative to the page, so that the page is the same under any host name."""
    names = [file.filename for file in files]
    if "".join(names).encode().translate(None, _UNRESERVED):
        names = [quote(name, safe="") for name in names]
    start = f"../../files/{project}/"
    return [f"{start}{file.address_digest}/{name}" for file, name in zip(files, names, strict=True)]


def batches(files: Sequence[File]) -> Iterator[Sequence[File]]:
    """The files of a page, in the batches of its pieces."""
    return (
        files[start : start + FILES_PER_PIECE] for start in range(0, len(files), FILES_PER_PIECE)
    )


def absolute_links(root: str) -> Links:
    """Addresses below ``root``, which ends with ``/``.

    Only for provenance, whose address is that of the file plus ``.provenance``; PEP 740 demands
    an absolute address. Without a public address in the settings it is relative like all others:
    better than none, since headers of clients do not reveal the public address reliably.
    """

    def links(project: ProjectName, files: Sequence[File]) -> list[str]:
        return [root + link.removeprefix("../../") for link in relative_links(project, files)]

    return links
