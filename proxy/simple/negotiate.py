"""Chooses the form of a page from a client's headers (RFC 9110 section 12.5, PEP 691)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache

_V1_JSON = "application/vnd.pypi.simple.v1+json"
_V1_HTML = "application/vnd.pypi.simple.v1+html"


class MediaType(Enum):
    """The forms of a page; the value is the header ``Content-Type``."""

    JSON = _V1_JSON
    HTML_V1 = _V1_HTML + "; charset=utf-8"
    TEXT_HTML = "text/html; charset=utf-8"

    def __init__(self, content_type: str) -> None:
        self.content_type = content_type
        self.is_json = content_type == _V1_JSON


_MEDIA_NAMES = {
    _V1_JSON: MediaType.JSON,
    "application/vnd.pypi.simple.latest+json": MediaType.JSON,
    _V1_HTML: MediaType.HTML_V1,
    "application/vnd.pypi.simple.latest+html": MediaType.HTML_V1,
    "text/html": MediaType.TEXT_HTML,
}
_RANGES = {
    MediaType.JSON: "application/*",
    MediaType.HTML_V1: "application/*",
    MediaType.TEXT_HTML: "text/*",
}
_RANK_IF_NAMED = (MediaType.TEXT_HTML, MediaType.HTML_V1, MediaType.JSON)
"""Worst first. A client that names JSON gets JSON; one that sends only ``*/*`` gets HTML, as
it probably cannot read JSON."""

_QUALITY = re.compile(r"0(?:\.[0-9]{0,3})?\Z|1(?:\.0{0,3})?\Z")
_TOKENS = re.compile(r"[a-z0-9!#$%&'*+.^_`|~-]+(?:/[a-z0-9!#$%&'*+.^_`|~-]+)?\Z")


@lru_cache(maxsize=256)
def choose_media(accept: str | None, format: str | None = None) -> MediaType:
    """The form for the header ``Accept`` and the query's ``format``.

    A client that accepts none of the forms gets ``text/html``, as from PyPI.
    """
    if asked := _MEDIA_NAMES.get((format or "").strip().lower().replace(" ", "+")):
        return asked
    named: dict[MediaType, float] = {}
    wild: dict[str, float] = {}
    for value, quality in _weighted(accept or ""):
        if offer := _MEDIA_NAMES.get(value):
            named[offer] = max(quality, named.get(offer, 0.0))
        elif value.endswith("/*"):
            wild[value] = quality

    def worth(offer: MediaType) -> tuple[float, int]:
        rank = _RANK_IF_NAMED.index(offer) + 1
        if offer in named:
            return named[offer], rank
        return wild.get(_RANGES[offer], wild.get("*/*", 0.0)), -rank

    best = max(MediaType, key=worth)
    return best if named and worth(best)[0] > 0 else MediaType.TEXT_HTML


@lru_cache(maxsize=256)
def accepts_gzip(accept_encoding: str | None) -> bool:
    """Whether the header ``Accept-Encoding`` allows gzip; False without the header."""
    codings = dict(_weighted(accept_encoding or ""))
    codings["gzip"] = codings.get("gzip", codings.get("x-gzip", codings.get("*", 0.0)))
    return codings["gzip"] > 0


def _weighted(header: str) -> Iterator[tuple[str, float]]:
    """The elements of a list header with their weights; malformed elements are skipped."""
    for element in header.lower().split(","):
        value, *parameters = (part.strip() for part in element.split(";"))
        pairs = (parameter.partition("=") for parameter in parameters)
        quality = next((q.strip() for name, _, q in pairs if name.strip() == "q"), "1")
        if _TOKENS.match(value) and _QUALITY.match(quality):
            yield value, float(quality)
