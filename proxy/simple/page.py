"""What all pages have in common once read, from JSON or from HTML."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from proxy.model import File, ProjectName, ProjectPage, ProjectStatus
from proxy.simple.names import version_of
from proxy.simple.sanitize import QUARANTINED

MAX_FILES = 250_000
"""Files of a page; the largest projects of PyPI have some 30,000."""


def make_page(
    project: ProjectName,
    files: Iterable[File],
    *,
    versions: Any = None,
    status: ProjectStatus | None,
    source: str,
    meta: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ProjectPage:
    """A page of these files, each name once: the first counts, so that nothing that follows can
    take its digest away.

    A quarantined project offers none (PEP 792). Versions that are not a list of texts are
    replaced by what the file names tell.
    """
    if status is not None and status.status == QUARANTINED:
        files = ()
    listed = tuple(files)
    if len({file.filename for file in listed}) < len(listed):
        by_name: dict[str, File] = {}
        for file in listed:
            by_name.setdefault(file.filename, file)
        listed = tuple(by_name.values())
    if not isinstance(versions, list) or not set(map(type, versions)) <= {str}:
        told = (version_of(file.filename, project) for file in listed)
        versions = dict.fromkeys(version for version in told if version)
    return ProjectPage(
        project,
        listed,
        tuple(versions),
        status,
        source,
        meta=meta or {},
        extra=extra or {},
    )
