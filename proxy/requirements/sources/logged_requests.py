"""Reads an access log in JSON form: the pages and files that a real build requested."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote

import msgspec

from proxy.distributions import safe_filename
from proxy.model import normalize
from proxy.requirements.model import LoggedRequest, SourceRequirements, UnreadableSource
from proxy.runtime import count_text

MAX_LINE = 256 * 1024
"""Bytes of a line of an access log."""

_PAGE_PATH = re.compile(r"(?:.*/)?simple/(?P<project>[^/]+)/?\Z")
_FILE_PATH = re.compile(r"(?:.*/)?files/(?P<project>[^/]+)/(?P<digest>[^/]+)/(?P<filename>[^/]+)\Z")
_LOGGED_DIGEST = re.compile(r"(?:[a-z0-9_]+-)?[0-9a-f]{16,256}\Z")


class LogEntry(msgspec.Struct):
    method: str = "GET"
    path: str = ""
    status: int = 200


def read_access_log(path: Path) -> SourceRequirements:
    """Each page and file once, in the order of the first successful request.

    Raises ``UnreadableSource``.
    """
    try:
        with path.open("rb") as file:
            return _read(str(path), file)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not a usable path"
        raise UnreadableSource(str(path), f"cannot be read: {reason}") from None


def _read(name: str, file: BinaryIO) -> SourceRequirements:
    requests: dict[LoggedRequest, None] = {}
    entries = others = 0
    for number, line in _lines(name, file):
        if not line.startswith(b"{"):
            others += 1
            continue
        entries += 1
        for each in _requests(_entry(name, number, line)):
            requests[each] = None
    if others and not entries:
        raise UnreadableSource(name, 'not a log in JSON form (log_format = "json")')
    notes = (f"{name}: {count_text(others, 'line')} not in JSON form, ignored",) if others else ()
    return SourceRequirements(requests=tuple(requests), notes=notes)


def _lines(name: str, file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Complete lines that are not empty; the last one may still be written."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        if len(line) > MAX_LINE:
            raise UnreadableSource(name, f"longer than {MAX_LINE} bytes", number)
        if line.endswith(b"\n") and line.strip():
            yield number, line


def _entry(name: str, number: int, line: bytes) -> LogEntry:
    try:
        return msgspec.json.decode(line, type=LogEntry)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise UnreadableSource(name, "not a JSON object of the access log", number) from None


def _requests(entry: LogEntry) -> Iterator[LoggedRequest]:
    """The request, if it was a successful one for a page or a file."""
    if entry.method not in ("GET", "HEAD") or entry.status >= 400:
        return
    address = entry.path.partition("?")[0]
    found = _FILE_PATH.match(address) or _PAGE_PATH.match(address)
    if not found:
        return
    parts = {
        name: unquote(text, errors="surrogateescape") for name, text in found.groupdict().items()
    }
    filename, digest = parts.get("filename"), parts.get("digest", "-")
    if filename is not None and not safe_filename(filename):
        return
    try:
        project = normalize(parts["project"])
    except ValueError:
        return
    yield LoggedRequest(project, filename, digest if _LOGGED_DIGEST.match(digest) else None)
