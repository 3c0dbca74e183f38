"""Log lines as plain text or as JSON, and sizes, counts and times as text."""

from __future__ import annotations

import json
import logging
import re
import sys
from abc import abstractmethod
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO

from proxy import late_pattern

SHOWN_DIGITS = 12
"""Digits of a digest that a plain line shows."""
_LONG_DIGEST = re.compile(
    rf"(?<![0-9a-f])([0-9a-f]{{{SHOWN_DIGITS}}})[0-9a-f]{{28,116}}(?![0-9a-f])"
)
"""Digests of SHA-1 and longer ones, in hexadecimal digits."""

REQUEST_LEAD = ("outcome", "status", "method", "path")
"""The fields with whose values the plain line of a request begins."""

_RED, _GREEN, _YELLOW, _BLUE = 31, 32, 33, 34
_COLOURS = {
    **{"hit": _GREEN, "local": _GREEN, "revalidated": _BLUE, "miss": _BLUE, "joined": _BLUE},
    **{"stale": _YELLOW, "warning": _YELLOW, "error": _RED, "critical": _RED},
    **{"4": _YELLOW, "5": _RED},
}
"""By outcome, level, and the first digit of a status."""


def configure_logging(
    form: Literal["plain", "json"], level: str, *, access: bool = True, colour: bool = False
) -> LineHandler:
    """Send all log records to standard error. ``access``: also a line for each request."""
    lines = JsonFormatter() if form == "json" else PlainFormatter(colour=colour)
    handler = LineHandler(lines, sys.stderr)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("waystation.access").setLevel("INFO" if access else "CRITICAL")
    return handler


class LineFormatter(logging.Formatter):
    """Formats log records, and the lines of requests, which have no record: making one takes
    longer than its line."""

    @abstractmethod
    def request_line(self, when: float, fields: dict[str, object]) -> str:
        """``when``: Unix time in seconds. ``fields``: those of ``REQUEST_LEAD``, and others."""


class LineHandler(logging.StreamHandler[TextIO]):
    def __init__(self, lines: LineFormatter, stream: TextIO) -> None:
        super().__init__(stream)
        self.setFormatter(lines)
        self.lines = lines


class PlainFormatter(LineFormatter):
    """``2026-01-02T03:04:05.678Z warning message key=value …``.

    The line of a request begins with its outcome. Digests are shortened. A record is one line; an
    exception follows indented. So text from outside cannot look like a line of its own.
    """

    def __init__(self, *, colour: bool = False) -> None:
        """``colour``: with escape sequences for a terminal."""
        super().__init__()
        self._colour = colour

    def format(self, record: logging.LogRecord) -> str:
        level = record.levelname.lower()
        line = self._line(record.created, f"{level} {record.getMessage()}", _fields(record))
        if record.exc_info:
            below = self.formatException(record.exc_info).split("\n")
            return "\n    ".join([line, *map(printable_text, below)])
        return line

    def request_line(self, when: float, fields: dict[str, object]) -> str:
        rest = dict(fields)
        outcome, *others = [str(rest.pop(name)) for name in REQUEST_LEAD]
        return self._line(when, " ".join([outcome.ljust(11), *others]), rest, others[0])

    def _line(self, when: float, line: str, fields: dict[str, object], status: str = "") -> str:
        first = line.partition(" ")[0]
        for key, value in fields.items():
            text = str(value)
            line += f" {key}={text if text.isprintable() and ' ' not in text else repr(text)}"
        line = _LONG_DIGEST.sub(r"\1…", printable_text(line))
        if self._colour:
            line = _coloured(line, first, status)
        return f"{timestamp_text(when)} {line}"


def _coloured(line: str, first: str, status: str) -> str:
    """The line with its first word coloured by the outcome, the level or an error status."""
    colour = _COLOURS.get(status[:1]) or _COLOURS.get(first)
    return f"\x1b[{colour}m{first}\x1b[0m{line[len(first) :]}" if colour else line


class JsonFormatter(LineFormatter):
    """One JSON object a line, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        fields = dict(_fields(record))
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return self._line(record.created, record.levelname.lower(), record.getMessage(), fields)

    def request_line(self, when: float, fields: dict[str, object]) -> str:
        return self._line(when, "info", "request", fields)

    def _line(self, when: float, level: str, message: str, fields: dict[str, object]) -> str:
        head = {"time": timestamp_text(when), "level": level, "message": message}
        return json.dumps(head | fields, default=str, separators=(",", ":"))


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
_DURATION = late_pattern(r"(?:\s*\d+(?:\.\d+)?\s*[smhdw])+\s*", re.ASCII)
_PART = late_pattern(r"(\d+(?:\.\d+)?)\s*([smhdw])")
_PLAIN_NUMBER = late_pattern(r"\s*-?\d+(\.\d+)?\s*", re.ASCII)


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
