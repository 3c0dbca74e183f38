"""Log lines as plain text or as JSON, and sizes, counts and times as text."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO

SHOWN_DIGITS = 12
"""Digits of a digest that a plain line shows."""
_LONG_DIGEST = re.compile(
    rf"(?<![0-9a-f])([0-9a-f]{{{SHOWN_DIGITS}}})[0-9a-f]{{28,116}}(?![0-9a-f])"
)
"""Digests of SHA-1 and longer ones, in hexadecimal digits."""

_RED, _GREEN, _YELLOW, _BLUE = 31, 32, 33, 34
_COLOURS = {
    **{"hit": _GREEN, "local": _GREEN, "revalidated": _BLUE, "miss": _BLUE, "joined": _BLUE},
    **{"stale": _YELLOW, "warning": _YELLOW, "error": _RED, "critical": _RED},
    **{"4": _YELLOW, "5": _RED},
}
"""By outcome, level, and the first digit of a status."""


def configure_logging(
    form: Literal["plain", "json"], level: str, *, access: bool = True, colour: bool = False
) -> logging.StreamHandler[TextIO]:
    """Send all log records to standard error. ``access``: also a line for each request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter(colour=colour))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("waystation.access").setLevel("INFO" if access else "CRITICAL")
    return handler


class PlainFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z warning message key=value …``.

    ``lead`` of a record names fields whose values replace level and message: the line of a request
    begins with the outcome. Digests are shortened. A record is one line; an exception follows
    indented. So text from outside cannot look like a line of its own.
    """

    def __init__(self, *, colour: bool = False) -> None:
        """``colour``: with escape sequences for a terminal."""
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(_fields(record))
        lead = [str(fields.pop(name)) for name in getattr(record, "lead", ())]
        first, *others = lead or [record.levelname.lower(), record.getMessage()]
        line = " ".join([first.ljust(11) if lead else first, *others])
        for key, value in fields.items():
            text = str(value)
            line += f" {key}={text if text.isprintable() and ' ' not in text else repr(text)}"
        line = _LONG_DIGEST.sub(r"\1…", printable_text(line))
        if self._colour:
            line = _coloured(line, first, others[0] if lead else "")
        line = f"{timestamp_text(record.created)} {line}"
        if record.exc_info:
            below = self.formatException(record.exc_info).split("\n")
            return "\n    ".join([line, *map(printable_text, below)])
        return line


def _coloured(line: str, first: str, status: str) -> str:
    """The line with its first word coloured by the outcome, the level or an error status."""
    colour = _COLOURS.get(status[:1]) or _COLOURS.get(first)
    return f"\x1b[{colour}m{first}\x1b[0m{line[len(first) :]}" if colour else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": timestamp_text(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, separators=(",", ":"))


def printable_text(text: str) -> str:
    """The text with escapes for line breaks and for control sequences of terminals."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return getattr(record, "fields", {})


def timestamp_text(when: float) -> str:
    """A Unix time in seconds as text: ``2026-01-02T03:04:05.678Z``."""
    seconds, milliseconds = divmod(int(when * 1000 + 0.0005), 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")


_SECONDS_BY_UNIT = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_DURATION = re.compile(r"(?:\s*\d+(?:\.\d+)?\s*[smhdw])+\s*", re.ASCII)
_PART = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_PLAIN_NUMBER = re.compile(r"\s*-?\d+(\.\d+)?\s*", re.ASCII)


def parse_seconds(value: object) -> object:
    """The seconds that a text such as ``10m``, ``1h30m``, ``7d`` or ``600`` means.

    Values that are not text are returned unchanged. Raises ``ValueError`` for other text.
    """
    if isinstance(value, str) and _DURATION.fullmatch(value.lower()):
        return sum(
            float(number) * _SECONDS_BY_UNIT[unit] for number, unit in _PART.findall(value.lower())
        )
    if isinstance(value, bool) or (isinstance(value, str) and not _PLAIN_NUMBER.fullmatch(value)):
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
