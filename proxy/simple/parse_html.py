"""Project pages in HTML (PEP 503), and the directory listings that stand in for them."""

from __future__ import annotations

import codecs
import re
import warnings
from typing import TYPE_CHECKING, Any

from proxy.errors import UnreadablePage
from proxy.model import File, ProjectName, ProjectPage
from proxy.simple import sanitize
from proxy.simple.addresses import last_segment, resolve
from proxy.simple.names import belongs, safe_filename
from proxy.simple.page import make_page

if TYPE_CHECKING:
    from pypi_simple import Link, RepositoryPage

_TITLE = re.compile(r"\b(?:links for|index of|directory listing)\b", re.IGNORECASE)
_CHARSET = re.compile(r"charset\s*=\s*[\"']?([a-z0-9._:-]+)")
_CHARSETS = ("utf-8", "utf-16", "ascii", "iso8859", "cp125", "koi8", "gb", "big5", "euc_", "shift")
"""Starts of the names of what web servers send; Python knows others that are traps."""
_ANCHOR = re.compile(r"<(/?)a\b", re.IGNORECASE | re.ASCII)
_DEEPEST = 1000
_METADATA_ATTRIBUTES = ("data-core-metadata", "data-dist-info-metadata")


def parse_html(
    project: ProjectName, body: bytes, parameters: str, url: str, source: str
) -> ProjectPage:
    """The page in ``body``; ``parameters`` are those of its content type, in lower case.

    Raises ``UnreadablePage``, also for what has no files and is no page of a project either:
    the login form of a network, the apology of a server.
    """
    text = _without_stump(_decode(body, parameters))
    if _nests(text):
        raise UnreadablePage(source, "its page is HTML with too many links inside each other")
    found = _read(text, url, source)
    if not sanitize.first_major(found.repository_version):
        raise UnreadablePage(source, "its page is of an API version that is not known here")
    files = [file for link in found.links if (file := _file(project, link, url))]
    if not files and found.repository_version is None and not _is_listing(text):
        raise UnreadablePage(source, "its answer is HTML, but no page of a project")
    metas = found.pypi_meta
    words = (metas.get(key, [None])[0] for key in ("project-status", "project-status-reason"))
    return make_page(project, files, status=sanitize.status(*words), source=source)


def _decode(body: bytes, parameters: str) -> str:
    named = _CHARSET.search(parameters)
    try:
        codec = codecs.lookup(named[1] if named else "utf-8").name
    except (LookupError, ValueError):
        codec = "utf-8"
    codec = codec if codec.startswith(_CHARSETS) else "utf-8"
    return body.decode(codec, "replace").removeprefix("\ufeff")


def _without_stump(text: str) -> str:
    """Without a tag cut short at the end, which the parser takes quadratic time to give up on."""
    start = text.find("<", text.rfind(">") + 1)
    return text if start < 0 else text[:start]


def _nests(text: str) -> bool:
    """Whether so many anchors are never closed that collecting their texts takes for ever."""
    depth = 0
    for tag in _ANCHOR.finditer(text):
        depth = max(depth - 1, 0) if tag[1] else depth + 1
        if depth > _DEEPEST:
            return True
    return False


def _read(text: str, url: str, source: str) -> RepositoryPage:
    """Its links and ``pypi:`` metas. Imports the parser, which costs 200 ms, at first use."""
    import bs4
    import pypi_simple

    for idle in (
        bs4.MarkupResemblesLocatorWarning,
        bs4.XMLParsedAsHTMLWarning,
        pypi_simple.UnexpectedRepoVersionWarning,
    ):
        warnings.simplefilter("ignore", idle)
    for base in (url, None):  # without one, a link that cannot be joined to it does no harm
        try:
            return pypi_simple.RepositoryPage.from_html(text, base)
        except pypi_simple.UnsupportedRepoVersionError:
            raise UnreadablePage(
                source, "its page is of an API version that is not known here"
            ) from None
        except (ValueError, bs4.ParserRejectedMarkup, RecursionError):
            continue
    raise UnreadablePage(source, "its page is HTML that cannot be read")


def _file(project: ProjectName, link: Link, base: str) -> File | None:
    resolved = resolve(base, link.url)
    name = last_segment(resolved[0]) if resolved else None
    if resolved is None or name is None or not (safe_filename(name) and belongs(name, project)):
        return None
    url, fragment = resolved
    if sanitize.unusable(fragment):
        return None
    attributes = link.attrs
    provenance = resolve(base, str(attributes.get("data-provenance", "")))
    return File(
        name,
        url,
        sanitize.fragment_hashes(fragment),
        _size(attributes.get("data-size")),
        _specifier(attributes.get("data-requires-python")),
        sanitize.upload_time(attributes.get("data-upload-time")),
        _yanked(attributes),
        _metadata(attributes) if name.endswith(".whl") else False,
        provenance[0] if provenance else None,
    )


def _yanked(attributes: dict[str, Any]) -> bool | str:
    """The attribute means yanked by being there, whatever it says (PEP 592)."""
    return "data-yanked" in attributes and (sanitize.text(attributes["data-yanked"]) or True)


def _metadata(attributes: dict[str, Any]) -> bool | dict[str, str]:
    values = (str(attributes.get(key, "")) for key in _METADATA_ATTRIBUTES)
    words = {"true": True, "false": False}
    return sanitize.metadata(words.get(v.lower(), sanitize.fragment_hashes(v)) for v in values)


def _size(value: Any) -> int | None:
    digits = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20
    return sanitize.size(int(value)) if digits else None


def _specifier(value: Any) -> str | None:
    """Escaped twice, as some servers do, no client understands it; it never has a real ``&``."""
    known = sanitize.text(value)
    return known.replace("&gt;", ">").replace("&lt;", "<") if known else None


def _is_listing(text: str) -> bool:
    """Whether a page without files says that it lists files, or says nothing whatsoever."""
    import bs4

    soup = bs4.BeautifulSoup(text, "html.parser")
    heads = (soup.find(name) for name in ("title", "h1"))
    if any(head and _TITLE.search(head.get_text()) for head in heads):
        return True
    active = soup.find(["script", "form", "iframe", "frame", "object", "embed"])
    refresh = soup.find("meta", attrs={"http-equiv": True})
    return soup.find() is not None and not (active or refresh or soup.get_text().strip())
