"""The part of a file that a request gets: conditions and ranges of RFC 9110. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec

_OFFSET = r"(\d{0,4000})"  # more digits than any file needs, and few enough to convert fast
_RANGE = re.compile(rf"bytes=\s*{_OFFSET}\s*-\s*{_OFFSET}\s*\Z", re.IGNORECASE | re.ASCII)
_ENTITY_TAG = re.compile(r'\s*(?:W/)?("[^"]*")\s*(?:,|\Z)')


class RangeResult(msgspec.Struct, frozen=True):
    """The answer's status and, where it has a body, which bytes: ``start`` up to ``stop``."""

    status: int
    start: int = 0
    stop: int = 0


def evaluate(
    method: str,
    headers: Mapping[str, str],
    size: int,
    etag: str | None = None,
    modified: datetime | None = None,
) -> RangeResult:
    """How to answer GET or HEAD for ``size`` bytes with this strong tag and date (RFC 9110).

    Several ranges, unknown units and malformed ranges are ignored, as 14.2 allows; a Range
    means nothing to HEAD.
    """
    if _fails(headers, etag, modified):
        return RangeResult(412)
    if not_modified(headers, etag, modified):
        return RangeResult(304)
    whole = RangeResult(200, 0, size)
    wanted = headers.get("Range")
    if method != "GET" or wanted is None or not _if_range(headers, etag, modified):
        return whole
    return _part(wanted, size) or whole


def not_modified(
    headers: Mapping[str, str], etag: str | None, modified: datetime | None = None
) -> bool:
    """Whether the client's copy is current; If-None-Match outweighs If-Modified-Since (13.2.2)."""
    if (tags := headers.get("If-None-Match")) is not None:
        return _matches(tags, etag)
    since = _date(headers.get("If-Modified-Since"))
    return since is not None and modified is not None and _seconds(modified) <= since


def _part(wanted: str, size: int) -> RangeResult | None:
    found = _RANGE.match(wanted.strip())
    if found is None or not (found[1] or found[2]):
        return None
    if not found[1]:  # the last so many bytes
        length = int(found[2])
        return (
            RangeResult(206, max(0, size - length), size) if length and size else RangeResult(416)
        )
    first = int(found[1])
    last = int(found[2]) if found[2] else size - 1
    if found[2] and last < first:
        return None
    return RangeResult(206, first, min(last + 1, size)) if first < size else RangeResult(416)


def _fails(headers: Mapping[str, str], etag: str | None, modified: datetime | None) -> bool:
    if (tags := headers.get("If-Match")) is not None:
        return not _matches(tags, etag)
    since = _date(headers.get("If-Unmodified-Since"))
    return since is not None and modified is not None and _seconds(modified) > since


def _if_range(headers: Mapping[str, str], etag: str | None, modified: datetime | None) -> bool:
    """Whether the client's part is of the current bytes: strong comparison, exact date (13.1.5)."""
    condition = headers.get("If-Range")
    if condition is None:
        return True
    if '"' in condition:
        return condition.strip() == etag
    since = _date(condition)
    return since is not None and modified is not None and _seconds(modified) == since


def _matches(tags: str, etag: str | None) -> bool:
    if tags.strip() == "*":
        return True
    return etag is not None and etag in _ENTITY_TAG.findall(tags)


def _date(value: str | None) -> datetime | None:
    """An HTTP date in UTC; None for other text (RFC 9110, 13.1.3: then it is ignored)."""
    try:
        found = parsedate_to_datetime(value) if value else None
        if found is None or found.tzinfo is None:
            return found.replace(tzinfo=UTC) if found else None
        return found.astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):  # of impossible zones and numbers
        return None


def _seconds(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)
