"""The page of a project from the details of its local files. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from packaging.version import InvalidVersion, Version

from proxy.indexes.local.examine import Details
from proxy.indexes.local.scan import DirectoryEntry
from proxy.model import File, ProjectName, ProjectPage


class Listed(msgspec.Struct, frozen=True):
    """A file, and what the page says about it."""

    entry: DirectoryEntry
    details: Details
    uploaded: str


class LocalPage(msgspec.Struct, frozen=True):
    """A page, and where the bytes of its files are."""

    page: ProjectPage
    entries: Mapping[str, DirectoryEntry]
    """By filename."""


def build_page(
    project: ProjectName, source: str, listed: Iterable[Listed], fresh_until: float | None
) -> LocalPage:
    """The files by version and filename, and the versions (PEP 700) in the same order."""
    ordered = sorted(listed, key=lambda one: (*_rank(one.details.version), one.entry.filename))
    files = tuple(_file(one) for one in ordered)
    page = ProjectPage(
        project,
        files,
        versions=tuple(dict.fromkeys(one.details.version for one in ordered)),
        source=source,
        fresh_until=fresh_until,
        version=hashlib.sha256(msgspec.msgpack.encode(files)).hexdigest(),
    )
    return LocalPage(page, {one.entry.filename: one.entry for one in ordered})


def _file(listed: Listed) -> File:
    entry, details = listed.entry, listed.details
    return File(
        entry.filename,
        Path(entry.path).as_uri(),
        {"sha256": details.sha256},
        size=entry.identity[0],
        requires_python=details.requires_python,
        uploaded=listed.uploaded,
        yanked=entry.yanked,
        metadata={"sha256": details.metadata} if details.metadata else False,
    )


def _rank(version: str) -> tuple[int, Version | str]:
    """Versions that PEP 440 knows come last, so in their order; installers take no others."""
    try:
        return 1, Version(version)
    except InvalidVersion:
        return 0, version
