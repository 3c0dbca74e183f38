"""How log lines look: plain for people, or one JSON object a line for machines."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal, TextIO


def set_up(
    form: Literal["plain", "json"], level: str, *, access: bool = True
) -> logging.StreamHandler[TextIO]:
    """Send all logs to standard error. ``access`` switches the line per request."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if form == "json" else PlainFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    logging.getLogger("waystation.access").setLevel("INFO" if access else "CRITICAL")
    return handler


class PlainFormatter(logging.Formatter):
    """``2026-01-02T03:04:05.678Z info message key=value …``.

    Always one line, and below it what an exception says, indented: nobody can write a line of
    their own into the log.
    """

    def format(self, record: logging.LogRecord) -> str:
        line = " ".join([stamp(record.created), record.levelname.lower(), record.getMessage()])
        for key, value in _fields(record).items():
            text = str(value)
            line += f" {key}={text if text.isprintable() and ' ' not in text else repr(text)}"
        if record.exc_info:
            below = self.formatException(record.exc_info).split("\n")
            return "\n    ".join(map(_printable, (line, *below)))
        return _printable(line)


class JsonFormatter(logging.Formatter):
    """One object a line, all of it ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str, separators=(",", ":"))


def _printable(text: str) -> str:
    """With escapes for line breaks, and for what could steer a terminal."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return getattr(record, "fields", {})


def stamp(when: float) -> str:
    """Unix time in seconds as log lines show it."""
    seconds, milliseconds = divmod(int(when * 1000 + 0.0005), 1000)
    return f"{_second(seconds)}.{milliseconds:03}Z"


@lru_cache(maxsize=4)
def _second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().removesuffix("+00:00")
