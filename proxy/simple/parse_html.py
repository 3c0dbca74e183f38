"""Parses project pages in HTML (PEP 503), and directory listings of web servers."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator, Mapping

from proxy.distributions import belongs_to, safe_filename
from proxy.errors import UnreadablePage
from proxy.model import SIGNATURE, File, ProjectName, ProjectPage, Sha256, normalize
from proxy.simple.markup import AttributeReader, Tag, TooManyTags, plain_text, tags
from proxy.simple.page import (
    MAX_FILES,
    clean_size,
    clean_status,
    clean_text,
    clean_upload_time,
    fragment_hashes,
    is_supported_version,
    make_page,
    only_bad_hashes,
)
from proxy.simple.urls import last_segment, resolve

MAX_LINKS = 500_000
"""Links of a page: directory listings have two for each file."""

_CHARSET = re.compile(r"charset\s*=\s*[\"']?([a-z0-9._:-]+)")
_CHARSETS = ("utf-8", "utf-16", "ascii", "iso8859", "cp125", "koi8", "gb", "big5", "euc_", "shift")
"""Prefixes of the charsets that web servers send; some other codecs of Python are unsafe."""
_BASE_TAG = re.compile(rb"<base[\s/]", re.IGNORECASE)
_SHA256_FRAGMENT = re.compile(r"sha256=([0-9a-f]{64})\Z")
_METADATA_ATTRIBUTES = ("data-core-metadata", "data-dist-info-metadata")
_ANCHOR_ATTRIBUTES = frozenset(
    (
        *(b"href", b"data-provenance", b"data-requires-python", b"data-size"),
        *(b"data-upload-time", b"data-yanked", b"data-gpg-sig"),
        *(name.encode() for name in _METADATA_ATTRIBUTES),
    )
)
_META_ATTRIBUTES = frozenset((b"name", b"content"))

_OTHER_ROOT_ELEMENTS = frozenset(
    b"svg math rss feed urlset sitemapindex rdf:rdf error errors multistatus d:multistatus".split()
)
"""First elements of documents that are no HTML, but may have links."""
_FRAME_ELEMENTS = frozenset(
    b"html head meta base title link body br hr p div main section h1 h2 pre ul ol table".split()
)
"""Elements of an empty listing that has no text."""
_MARKUP = re.compile(rb"<!--(?:-?>|.*?-->)|<[!?/][^>]*>", re.DOTALL)
"""Comments and declarations between two tags, which are no text."""
MAX_FRAME = 64
"""Tags of an empty frame."""
MAX_HEADING = 4096
"""Bytes of a heading that are read."""
_LINKS_FOR = re.compile(r"\blinks for\s+(\S+)", re.IGNORECASE)
_DIRECTORY = re.compile(  # of Apache, nginx, lighttpd, Python, Tomcat, Jetty
    r"\b(?:index of|directory listing (?:for|of)|directory:)\s+\S*/", re.IGNORECASE
)


class _NoListing(ValueError):
    """The document is no list of files."""


def parse_html(
    project: ProjectName, body: bytes, parameters: str, url: str, source: str
) -> ProjectPage:
    """The page in ``body``; ``parameters`` are those of the content type, in lower case.

    Raises ``UnreadablePage``, also for documents that are no listing: a login form, an error
    page, other XML.
    """
    document = _as_utf8(body, parameters)
    try:
        metas, files = _read(project, document, url)
        listed = bool(files) or "repository-version" in metas or _is_listing(project, document)
    except TooManyTags as error:
        raise UnreadablePage(source, f"its page has {error}") from None
    except _NoListing:
        listed = False
    if not listed:
        raise UnreadablePage(source, "its answer is no page of a project")
    if not is_supported_version(metas.get("repository-version")):
        raise UnreadablePage(source, "its page is of an API version that is not known here")
    words = (metas.get(key) for key in ("project-status", "project-status-reason"))
    return make_page(project, files, status=clean_status(*words), source=source)


def _as_utf8(body: bytes, parameters: str) -> bytes:
    named = _CHARSET.search(parameters)
    try:
        codec = codecs.lookup(named[1] if named else "utf-8").name
    except (LookupError, ValueError):
        codec = "utf-8"
    if body.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        codec = "utf-16"
    elif codec.startswith("utf-16") and b"\0" not in body:  # a wrong label: UTF-16 has NULs
        codec = "utf-8"
    if codec not in ("utf-8", "ascii") and codec.startswith(_CHARSETS):
        body = body.decode(codec, "replace").encode()
    return body.removeprefix(codecs.BOM_UTF8)


def _read(project: ProjectName, document: bytes, url: str) -> tuple[dict[str, str], list[File]]:
    """The ``pypi:`` metas and the files. Raises ``TooManyTags`` and ``_NoListing``."""
    reader = AttributeReader()
    base = _base(document, url, reader)
    metas: dict[str, str] = {}
    files: list[File] = []
    links = 0
    for tag in _html_tags(document):
        if tag.name == b"a":
            links += 1
            if file := _file(project, reader.read(tag, _ANCHOR_ATTRIBUTES), base):
                files.append(file)
            if links > MAX_LINKS or len(files) > MAX_FILES:
                raise TooManyTags(f"more than {MAX_LINKS:,} links or {MAX_FILES:,} files")
        elif tag.name == b"meta":
            meta = reader.read(tag, _META_ATTRIBUTES)
            name = meta.get("name", "")
            if name.startswith("pypi:") and "content" in meta:
                metas.setdefault(name.removeprefix("pypi:"), meta["content"])
    return metas, files


def _html_tags(document: bytes) -> Iterator[Tag]:
    """The tags of a document. Raises ``_NoListing`` for XML that is no HTML."""
    is_xml = document.lstrip()[:5].lower() == b"<?xml"
    found = tags(document)
    for tag in found:
        if tag.name in _OTHER_ROOT_ELEMENTS or (is_xml and tag.name != b"html"):
            raise _NoListing
        yield tag
        break
    yield from found


def _base(document: bytes, url: str, reader: AttributeReader) -> str:
    """The address that links are relative to: the first ``base`` counts, wherever it is."""
    if not _BASE_TAG.search(document):
        return url
    for tag in tags(document):
        if tag.name == b"base":
            href = reader.read(tag, (b"href",)).get("href")
            resolved = resolve(url, href) if href else None
            if href:
                return resolved[0] if resolved else url
    return url


def _file(project: ProjectName, attributes: dict[str, str], base: str) -> File | None:
    link, _, fragment = attributes.get("href", "").strip().partition("#")
    resolved = resolve(base, link)
    name = last_segment(resolved[0]) if resolved else None
    if resolved is None or name is None or not (safe_filename(name) and belongs_to(name, project)):
        return None
    hashes = _hashes(fragment)
    if not hashes and only_bad_hashes(fragment):
        return None
    provenance = resolve(base, attributes.get("data-provenance", ""))
    return File(
        name,
        resolved[0],
        hashes,
        _size(attributes.get("data-size")),
        _specifier(attributes.get("data-requires-python")),
        clean_upload_time(attributes.get("data-upload-time")),
        _yanked(attributes),
        _metadata(attributes) if name.endswith(".whl") else False,
        provenance[0] if provenance else None,
        beside=(SIGNATURE,) if attributes.get("data-gpg-sig") == "true" else (),
    )


def _hashes(fragment: str) -> Mapping[str, str]:
    if found := _SHA256_FRAGMENT.match(fragment):
        return Sha256(found[1])
    return fragment_hashes(fragment) if fragment else {}


def _yanked(attributes: dict[str, str]) -> bool | str:
    """The presence of the attribute means yanked, whatever its value (PEP 592)."""
    return "data-yanked" in attributes and (clean_text(attributes["data-yanked"]) or True)


def _metadata(attributes: dict[str, str]) -> bool | Mapping[str, str]:
    """The first well-formed value of the two attributes (PEP 714)."""
    for value in filter(None, map(attributes.get, _METADATA_ATTRIBUTES)):
        if value.lower() in ("true", "false"):
            return value.lower() == "true"
        if hashes := _hashes(value):
            return hashes
    return False


def _size(value: str | None) -> int | None:
    digits = value if value and value.isascii() and value.isdigit() and len(value) < 20 else None
    return clean_size(int(digits)) if digits else None


def _specifier(value: str | None) -> str | None:
    """Some servers escape the value twice, which no client reads; it never contains ``&``."""
    known = clean_text(value)
    return known.replace("&gt;", ">").replace("&lt;", "<") if known else None


def _is_listing(project: ProjectName, document: bytes) -> bool:
    """Whether a document without files is the page of a project that has none.

    Either its title or heading is that of a listing, or the document is empty: a few elements
    such as ``html`` and ``body``, without text, image or script.
    """
    heading, parts, end = b"", [b""], 0
    names: set[bytes] = set()
    is_frame = True
    for number, tag in enumerate(_html_tags(document)):
        text = _text(document[end : tag.start]) if heading or is_frame else b""
        end = tag.end
        names.add(tag.name)
        is_frame = (
            is_frame and number < MAX_FRAME and tag.name.removeprefix(b"/") in _FRAME_ELEMENTS
        )
        is_frame = is_frame and not text and not _leads_away(tag)
        parts.append(text if heading else b"")
        if heading and tag.name == b"/" + heading:
            if _names_a_listing(project, plain_text(b" ".join(parts)[:MAX_HEADING])):
                return True
            heading = b""
        elif tag.name in (b"title", b"h1"):
            heading, parts = tag.name, []
    if not is_frame or len(document) - end > MAX_HEADING or _text(document[end:]):
        return False
    return not names.isdisjoint((b"html", b"head", b"body"))


def _text(between_tags: bytes) -> bytes:
    return _MARKUP.sub(b"", between_tags).strip()


def _leads_away(tag: Tag) -> bool:
    if tag.name != b"meta":
        return False
    return AttributeReader().read(tag, (b"http-equiv",)).get("http-equiv", "").lower() == "refresh"


def _names_a_listing(project: ProjectName, heading: str) -> bool:
    if _DIRECTORY.search(heading):
        return True
    found = _LINKS_FOR.search(heading)
    try:
        return found is not None and normalize(found[1]) == project
    except ValueError:
        return False
