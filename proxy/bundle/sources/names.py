"""Reads names and specifiers from the command line: ``requests``, ``requests[socks]>=2,<3``."""

from __future__ import annotations

from pathlib import Path

from proxy.bundle.sources.document import SourceDocument
from proxy.bundle.wants import LatestVersions, Requirements, SkippedRequirement, SourceRequirements
from proxy.model import normalize


def read_names(argument: str, latest: int | None = None) -> SourceRequirements:
    """The project with all it needs and, with ``latest``, its newest so many versions alone.

    Raises ``UnreadableSource``.
    """
    document = SourceDocument(argument, Path(), b"")
    found = document.requirement(argument)
    project = normalize(found.name)
    if found.url is not None:
        reason = "comes from an address, not from an index"
        return SourceRequirements(skipped=(SkippedRequirement(project, project, reason),))
    named = (LatestVersions(project, found.specifier, latest),) if latest else ()
    return SourceRequirements(requirements=(Requirements(argument, f"{found}\n"),), named=named)
