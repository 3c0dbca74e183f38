"""Reads headers of upstream's answers: cache lifetime, retry, range, length, content coding.

Pure functions; the text is untrusted. ``Cache-Control`` (RFC 9111, section 5.2) is read from
requests as well.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from email.utils import parsedate_to_datetime

import msgspec
from multidict import CIMultiDict, MultiMapping

Headers = MultiMapping[str]

MAX_DELTA_SECONDS = 2**31
"""Seconds; a larger number counts as this one (RFC 9111, section 1.2.2)."""
DECODABLE_CODINGS = frozenset({"gzip", "x-gzip", "deflate"})

_DIGITS = re.compile(r"[0-9]+", re.ASCII)
_DIRECTIVE = re.compile(r'([^\s,=;"]+)(?:\s*=\s*("[^"]*"|[^\s,]*))?')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)", re.ASCII)


class CacheLifetime(msgspec.Struct, frozen=True):
    """How a shared cache may use an answer (RFC 9111)."""

    lifetime: float | None
    """Seconds from now for which it is fresh; None: upstream named no lifetime."""
    must_revalidate: bool
    """It must not be served stale."""
    storable: bool


def printable_headers(headers: Headers) -> Headers:
    """The headers as text that can be stored and sent back.

    Values may have control characters, and bytes outside UTF-8 (as surrogates): U+FFFD replaces
    these, so that such an entity tag matches no other.
    """
    if all(map(str.isprintable, headers.values())):
        return headers
    return CIMultiDict((name, _printable(value)) for name, value in headers.items())


def _printable(text: str) -> str:
    return "".join(each if each.isprintable() else "\ufffd" for each in text)


def cache_lifetime(headers: Headers, now: float) -> CacheLifetime:
    """How long and under which conditions the answer may be stored.

    The answers are pages that every client may see, requested with fixed headers and with the
    proxy's own credentials. So the rule for answers to authorized requests (section 3.5) does
    not apply, and ``Vary`` forbids only what no cache can use as a key. The age is the header
    ``Age``: comparing ``Date`` with our clock would make each page stale if the clocks differ.
    """
    control = directives(headers.getall("Cache-Control", []))
    vary = {name.strip().lower() for name in _joined(headers, "Vary").split(",")}
    forbidden = {"no-store", "private"} & control.keys() or {"*", "cookie"} & vary
    lifetime = _lifetime(headers, control, now)
    if lifetime is not None:
        lifetime = max(0.0, lifetime - (delta_seconds(headers.get("Age")) or 0.0))
    # s-maxage implies proxy-revalidate: section 5.2.2.10
    strict = {"no-cache", "must-revalidate", "proxy-revalidate", "s-maxage"} & control.keys()
    return CacheLifetime(lifetime, must_revalidate=bool(strict), storable=not forbidden)


def _lifetime(headers: Headers, control: dict[str, str], now: float) -> float | None:
    if "no-cache" in control:
        return 0.0
    for directive in ("s-maxage", "max-age"):
        if directive in control:
            return delta_seconds(control[directive]) or 0.0  # malformed: stale, section 4.2.1
    if "Expires" in headers:
        expires, date = http_date(headers["Expires"]), http_date(headers.get("Date"))
        # "0" and other non-dates mean that it has expired: section 5.3
        return 0.0 if expires is None else expires - (now if date is None else date)
    return None


def http_date(text: str | None) -> float | None:
    """Unix time in seconds; None for anything that is not a date."""
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def retry_after(headers: Headers, now: float) -> int | None:
    """Seconds to wait, from a number or a date (RFC 9110, section 10.2.3), at most a day.

    Without these, from when GitHub and others count the requests of a client from zero again.
    """
    text = headers.get("Retry-After")
    wait = delta_seconds(text)
    if wait is None and (date := http_date(text)) is not None:
        wait = max(0.0, date - now)
    if wait is None and headers.get("X-RateLimit-Remaining") == "0":
        reset = delta_seconds(headers.get("X-RateLimit-Reset"))
        wait = None if reset is None else max(0.0, reset - now)
    return None if wait is None else int(min(wait, 86_400))


def last_serial(headers: Headers) -> int | None:
    """PyPI's serial number of the last change to the project."""
    number = delta_seconds(headers.get("X-PyPI-Last-Serial"))
    return None if number is None or number == MAX_DELTA_SECONDS else int(number)


def is_strong_tag(etag: str | None) -> str | None:
    """The entity tag if it is strong (RFC 9110, section 8.8.1); else None."""
    return etag if etag and etag[0] == '"' == etag[-1] and len(etag) > 1 else None


def same_tag(one: str, other: str) -> bool:
    """Weak comparison (RFC 9110, section 8.8.3.2)."""
    return one.removeprefix("W/") == other.removeprefix("W/")


def content_range(headers: Headers) -> tuple[int, int, int | None] | None:
    """First byte, last byte, total bytes if known (RFC 9110, section 14.4); None if malformed."""
    found = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", "").strip())
    if not found:
        return None
    first, last = int(found[1]), int(found[2])
    total = None if found[3] == "*" else int(found[3])
    return (first, last, total) if first <= last and (total is None or last < total) else None


def content_length(headers: Headers) -> int | None:
    number = headers.get("Content-Length", "").strip()
    return int(number) if _DIGITS.fullmatch(number) and len(number) < 20 else None


def content_encoding(headers: Headers) -> str | None:
    """The codings in lowercase; None also for ``identity``."""
    coding = _joined(headers, "Content-Encoding").strip().lower()
    return None if coding in {"", "identity"} else coding


def codings(label: str | None) -> list[str]:
    """The codings of a ``Content-Encoding`` that can be removed, the last applied first.

    Other words are no codings (``aws-chunked``, ``utf-8``, ``none``), or were not requested;
    installers ignore them, too.
    """
    words = (word.partition(";")[0].strip(" \t\"'") for word in (label or "").split(","))
    return [word for word in words if word in DECODABLE_CODINGS][::-1]


def _joined(headers: Headers, name: str) -> str:
    return ",".join(headers.getall(name, []))


def directives(lines: Iterable[str]) -> dict[str, str]:
    """The directives of all lines, in lowercase; the first of a name counts."""
    found: dict[str, str] = {}
    for name, value in _DIRECTIVE.findall(",".join(lines)):
        found.setdefault(name.lower(), value.strip('"'))
    return found


def delta_seconds(text: str | None) -> float | None:
    """A number of seconds (RFC 9111, section 1.2.2); None for anything else."""
    text = (text or "").strip()
    if not _DIGITS.fullmatch(text):
        return None
    return float(MAX_DELTA_SECONDS if len(text) > 10 else min(int(text), MAX_DELTA_SECONDS))
