"""Parses project pages of any server, in JSON or HTML: here, or in a process of its own.

The process reads a page from standard input. It imports little, so that it starts in about 70 ms;
its memory and time are limited.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress

import msgspec

from proxy.errors import UnreadablePage
from proxy.model import ProjectName, ProjectPage
from proxy.simple.parse_json import is_json, parse_json

MAX_MEMORY = 768 * 2**20
"""Bytes of address space. A page of 64 MiB with the most files needs about 400 MiB."""
MAX_CPU_SECONDS = 10
"""Seconds of CPU time. A page with the most links and tags takes 2 to 4."""
TOO_EXPENSIVE = "its page takes more memory or time to read than a list of files does"


def parse_page(
    project: ProjectName, body: bytes, content_type: str, url: str, source: str
) -> ProjectPage:
    """The page in ``body``, also if the server sent a wrong content type.

    ``url`` is the address after redirects; links are relative to it. ``source`` is the name of
    the index. Files of other projects, files with unsafe names or addresses, and malformed
    values are left out. Raises ``UnreadablePage``, and nothing else whatever the bytes.
    """
    if is_json(content_type, body):
        return parse_json(project, body, url, source)
    from proxy.simple.parse_html import parse_html  # PyPI and most others send JSON

    return parse_html(project, body, content_type.lower().partition(";")[2], url, source)


class ParseOutcome(msgspec.Struct):
    """The page, or the reason why there is none."""

    page: ProjectPage | None = None
    reason: str = ""


def outcome_of(output: bytes) -> ParseOutcome:
    """The outcome that the process wrote; without output it ran into a limit."""
    return (
        msgspec.json.decode(output, type=ParseOutcome)
        if output
        else ParseOutcome(reason=TOO_EXPENSIVE)
    )


def main(project: str, content_type: str, url: str, source: str) -> None:
    """Run by ``proxy.indexes.mirror.page_reading``."""
    _limit()
    gc.disable()  # nothing here is garbage before the end
    body = sys.stdin.buffer.read()
    try:
        outcome = ParseOutcome(parse_page(ProjectName(project), body, content_type, url, source))
        output = msgspec.json.encode(outcome)
    except UnreadablePage as error:
        output = msgspec.json.encode(ParseOutcome(reason=error.reason))
    except MemoryError:
        return
    sys.stdout.buffer.write(output)


def _limit() -> None:
    with suppress(ImportError, OSError, ValueError):  # Windows has no such limits
        import resource

        for resource_kind, limit in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
            (resource.RLIMIT_AS, MAX_MEMORY),
        ):
            _, hard = resource.getrlimit(resource_kind)
            allowed = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
            resource.setrlimit(resource_kind, (allowed, allowed))
