"""Sizes, counts and times as people read and write them."""

from __future__ import annotations

import re

_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_TIME = re.compile(r"(?:\s*\d+(?:\.\d+)?\s*[smhdw])+\s*", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_NUMBER = re.compile(r"\s*-?\d+(\.\d+)?\s*", re.ASCII)


def seconds(value: object) -> object:
    """A time in seconds: text such as ``10m``, ``1h30m`` or ``7d``, or a number of seconds.

    Raises ``ValueError`` for other text; values that are not text are returned as they are.
    """
    if isinstance(value, str) and _TIME.fullmatch(value.lower()):
        return sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value.lower()))
    if isinstance(value, bool) or (isinstance(value, str) and not _NUMBER.fullmatch(value)):
        raise ValueError('is not a time in seconds, such as 600, "10m", "1h" or "7d"')
    return value


def size_text(size: float) -> str:
    """``size`` in bytes: ``12.3 MB``."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def count_text(number: int, noun: str) -> str:
    """``1 file``, ``2 files``, for a noun whose plural ends in s."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
