"""How log lines look: plain for people, or one JSON object a line for machines."""

from __future__ import annotations

import logging
import sys
from datetime import UTC, datetime
from typing import Literal, TextIO

import msgspec


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
    """``2026-01-02T03:04:05.678Z info message key=value …``, always one line."""

    def format(self, record: logging.LogRecord) -> str:
        line = " ".join([stamp(record.created), record.levelname.lower(), record.getMessage()])
        for key, value in _fields(record).items():
            text = str(value)
            line += f" {key}={text if text.isprintable() and ' ' not in text else repr(text)}"
        line = line.replace("\r", "\\r").replace("\n", "\\n")
        return line + (f"\n{self.formatException(record.exc_info)}" if record.exc_info else "")


class JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, object] = {
            "time": stamp(record.created),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **_fields(record),
        }
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return msgspec.json.encode(entry, enc_hook=str).decode()


def _fields(record: logging.LogRecord) -> dict[str, object]:
    return getattr(record, "fields", {})


def stamp(when: float) -> str:
    """Unix time in seconds as log lines show it."""
    moment = datetime.fromtimestamp(when, UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
