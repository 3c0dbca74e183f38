"""The program of a process that reads one page: the document on standard input, the page out.

It imports little, so that it starts in some 70 ms; its memory and time are limited.
"""

from __future__ import annotations

import gc
import sys
from contextlib import suppress

import msgspec

from proxy.errors import UnreadablePage
from proxy.model import ProjectName, ProjectPage
from proxy.simple.parse import parse_page

MAX_MEMORY = 768 * 2**20
"""Bytes of address space. A page of 64 MiB with as many files as may be needs about 400 MiB."""
MAX_CPU_SECONDS = 10
"""Of computing time. A page that has as many links and tags as may be takes 2 to 4."""
TOO_EXPENSIVE = "its page takes more memory or time to read than a list of files does"


class Outcome(msgspec.Struct):
    """The page, or why there is none."""

    page: ProjectPage | None = None
    reason: str = ""


def outcome_of(output: bytes) -> Outcome:
    """What the process said. Without words it ran into a limit."""
    return msgspec.json.decode(output, type=Outcome) if output else Outcome(reason=TOO_EXPENSIVE)


def main(project: str, content_type: str, url: str, source: str) -> None:
    """Run by ``proxy.indexes.mirror.page_reading``."""
    _limit()
    gc.disable()  # nothing here is garbage before the end
    body = sys.stdin.buffer.read()
    try:
        outcome = Outcome(parse_page(ProjectName(project), body, content_type, url, source))
        output = msgspec.json.encode(outcome)
    except UnreadablePage as error:
        output = msgspec.json.encode(Outcome(reason=error.reason))
    except MemoryError:
        return
    sys.stdout.buffer.write(output)


def _limit() -> None:
    with suppress(ImportError, OSError, ValueError):  # on Windows there are none
        import resource

        for what, most in (
            (resource.RLIMIT_CORE, 0),
            (resource.RLIMIT_CPU, MAX_CPU_SECONDS),
            (resource.RLIMIT_AS, MAX_MEMORY),
        ):
            _, hard = resource.getrlimit(what)
            allowed = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(what, (allowed, allowed))
