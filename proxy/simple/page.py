"""Makes pages from parsed files, of JSON and HTML alike, and drops files on refused servers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from proxy.distributions import version_of
from proxy.model import (
    EXTRA_SUFFIXES,
    File,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    distribution_of,
)
from proxy.simple.field_values import QUARANTINED
from proxy.simple.urls import origin, roots

MAX_FILES = 250_000
"""Files of a page; the largest projects of PyPI have about 30,000."""


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
    """A page of these files. The first file of a name counts: later ones cannot drop its digest.

    A quarantined project has no files (PEP 792). Versions that are not a list of texts are
    replaced with those of the file names.
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
        found = (version_of(file.filename, project) for file in listed)
        versions = dict.fromkeys(version for version in found if version)
    return ProjectPage(
        project,
        listed,
        tuple(versions),
        status,
        source,
        meta=meta or {},
        extra=extra or {},
    )


def gather_extra_files(page: ProjectPage) -> ProjectPage:
    """The page with listed signatures and the like as files beside their distributions.

    Those at another address than beside the distribution stay files of their own.
    """
    by_name = {file.filename: file for file in page.files}
    beside: dict[str, list[str]] = {}
    for file in page.files:
        owner = by_name.get(distribution_of(file.filename))
        suffix = file.filename.removeprefix(owner.filename) if owner else ""
        if owner and suffix in EXTRA_SUFFIXES and file.url == owner.url + suffix:
            beside.setdefault(owner.filename, []).append(suffix)
    if not beside:
        return page
    gone = {name + suffix for name, suffixes in beside.items() for suffix in suffixes}
    files = (_with_beside(file, beside.get(file.filename, ())) for file in page.files)
    kept = tuple(file for file in files if file.filename not in gone)
    return msgspec.structs.replace(page, files=kept)


def _with_beside(file: File, suffixes: Iterable[str]) -> File:
    found = tuple(sorted({*file.beside, *suffixes}))
    return file if found == file.beside else msgspec.structs.replace(file, beside=found)


def without_extra_files(page: ProjectPage) -> ProjectPage:
    """The page without announcements of further files beside distributions."""
    if not any(file.beside for file in page.files):
        return page
    files = (msgspec.structs.replace(file, beside=()) for file in page.files)
    return msgspec.structs.replace(page, files=tuple(files))


def drop_refused_hosts(
    page: ProjectPage, allowed: Callable[[str], bool]
) -> tuple[ProjectPage, list[File]]:
    """The page without the files on refused servers, and those files, for the log.

    ``allowed`` is called once for each ``https://host[:port]``. A provenance address on a refused
    server is removed from its file.
    """
    provenance = [file.provenance for file in page.files if file.provenance]
    servers = roots([*(file.url for file in page.files), *provenance])
    if all(allowed(server.rstrip("/")) for server in servers):
        return page, []
    ask = lru_cache(maxsize=None)(allowed)
    kept: list[File] = []
    refused: list[File] = []
    for file in page.files:
        if not ask(origin(file.url)):
            refused.append(file)
        elif file.provenance and not ask(origin(file.provenance)):
            kept.append(msgspec.structs.replace(file, provenance=None))
        else:
            kept.append(file)
    return msgspec.structs.replace(page, files=tuple(kept)), refused
