"""Reads names and specifiers from the command line: ``requests``, ``requests[socks]>=2,<3``."""

from __future__ import annotations

from pathlib import Path

from proxy.bundle.sources.document import Document
from proxy.bundle.wants import Named, Requirements, Skipped, Wants
from proxy.simple.names import normalize


def read(argument: str, latest: int | None = None) -> Wants:
    """The project with all it needs and, with ``latest``, its newest so many versions alone.

    Raises ``UnreadableSource``.
    """
    document = Document(argument, Path(), b"")
    found = document.requirement(argument)
    project = normalize(found.name)
    if found.url is not None:
        reason = "comes from an address, not from an index"
        return Wants(skipped=(Skipped(project, project, reason),))
    named = (Named(project, found.specifier, latest),) if latest else ()
    return Wants(requirements=(Requirements(argument, f"{found}\n"),), named=named)
