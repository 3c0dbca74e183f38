"""Pages of a local directory: its files together with their details from the catalogue."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections.abc import Iterable, Mapping
from pathlib import Path

import msgspec
from packaging.version import Version

from proxy.distributions import UnusableArchive
from proxy.errors import IndexUnavailable, NoSuchFile
from proxy.indexes.local.catalogue import Catalogue, Details, Opener, read_metadata
from proxy.indexes.local.follower import Follower
from proxy.indexes.local.scan import DirectoryEntry, Unstable
from proxy.indexes.local.skip_log import RejectedFile
from proxy.model import (
    PROVENANCE,
    File,
    ProjectName,
    ProjectPage,
    ProjectStatus,
    with_distributions,
)
from proxy.storage import Key, RecordKind, Records


class Listed(msgspec.Struct, frozen=True):
    """A file with its details."""

    entry: DirectoryEntry
    details: Details
    uploaded: str


class LocalPage(msgspec.Struct, frozen=True):
    """A page, and its files in the directory."""

    page: ProjectPage
    entries: Mapping[str, DirectoryEntry]
    """By filename."""
    held: tuple[File, ...] = ()
    """All files, also those of a quarantined project, which its page does not list."""

    def owner(self, filename: str) -> DirectoryEntry:
        """The entry of a listed file, or of the one that it is beside."""
        owners = (self.entries.get(name) for name in with_distributions(filename))
        return next(filter(None, owners))


def build_page(
    project: ProjectName,
    source: str,
    listed: Iterable[Listed],
    fresh_until: float | None,
    status: ProjectStatus | None = None,
) -> LocalPage:
    listed = tuple(listed)
    files = tuple((one.details.version, file_of(one)) for one in listed)
    return LocalPage(
        page_of_files(project, source, files, fresh_until, status),
        {one.entry.filename: one.entry for one in listed},
        tuple(file for _, file in files),
    )


def page_of_files(
    project: ProjectName,
    source: str,
    listed: Iterable[tuple[str, File]],
    fresh_until: float | None,
    status: ProjectStatus | None,
) -> ProjectPage:
    """The page of files and their versions, which it lists by version and filename.

    A quarantined project has no files on its page (PEP 792).
    """
    if status and status.status == "quarantined":
        listed = ()
    ordered = sorted(listed, key=lambda one: (*_rank(one[0]), one[1].filename))
    files = tuple(file for _, file in ordered)
    return ProjectPage(
        project,
        files,
        versions=tuple(dict.fromkeys(version for version, _ in ordered)),
        status=status,
        source=source,
        fresh_until=fresh_until,
        version=hashlib.sha256(msgspec.msgpack.encode((files, status))).hexdigest(),
    )


def file_of(listed: Listed) -> File:
    """The file as pages list it."""
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
        beside=entry.beside,
        provenance=Path(entry.path + PROVENANCE).as_uri() if entry.provenance else None,
    )


def _rank(version: str) -> tuple[int, Version | str]:
    """Sorts by PEP 440; versions that are not valid come first: installers ignore them."""
    try:
        return 1, Version(version)
    except ValueError:  # InvalidVersion, or a number of thousands of digits
        return 0, version


class Contents:
    """Joins the table of files, the catalogue of details, and stored METADATA."""

    def __init__(
        self,
        name: str,
        follower: Follower,
        catalogue: Catalogue,
        opened: Opener,
        records: Records,
    ) -> None:
        self._name = name
        self._follower = follower
        self._catalogue = catalogue
        self._opened = opened
        self._records = records
        self._read = -1

    async def listed(self, project: ProjectName) -> list[Listed]:
        """The files of the project that can be listed now. Raises ``IndexUnavailable``."""
        table = self._follower.table
        for place in table.hidden(project):
            reason = "a file of the same name lies in another folder"
            self._follower.skip(RejectedFile(place, reason))
        found = await asyncio.gather(
            *map(self._with_details, table.entries(project)), return_exceptions=True
        )
        for failure in found:
            if isinstance(failure, BaseException):
                raise failure
        listed = (one for one in found if isinstance(one, Listed))
        return [one for one in listed if one.details.project == project]

    async def read_pending(self) -> None:
        """Read new files one by one, before a request needs them, and confirm their projects."""
        generation = self._follower.generation
        if generation == self._read:
            return
        entries = self._follower.table.all()
        known = self._catalogue.known
        for entry in [one for one in entries if not one.certain or known(one) is None]:
            with contextlib.suppress(IndexUnavailable):
                await self._with_details(entry)
        self._read = generation

    async def metadata(self, owner: DirectoryEntry, file: File) -> bytes:
        """METADATA of a wheel, with the listed digest.

        Raises ``NoSuchFile`` and ``IndexUnavailable``.
        """
        digest = file.hashes["sha256"]
        key = Key(RecordKind.LOCAL_METADATA, digest)
        data = await self._records.get(key)
        if data is not None and hashlib.sha256(data).hexdigest() == digest:
            return data
        try:
            data = await asyncio.to_thread(read_metadata, owner, self._opened)
        except Unstable:
            data = b""
        except (OSError, UnusableArchive) as error:
            self._follower.mark_stale(owner)
            raise IndexUnavailable(self._name, f"{owner.filename} cannot be read") from error
        if hashlib.sha256(data).hexdigest() != digest:
            self._follower.mark_stale(owner)
            raise NoSuchFile(owner.project, file.filename, "it has just been replaced")
        await self._records.put(key, data)
        return data

    async def _with_details(self, entry: DirectoryEntry) -> Listed | None:
        """None if the file cannot be listed, or not yet."""
        if self._follower.being_written(entry):
            return None
        try:
            details = await self._catalogue.details(entry, self._opened)
        except Unstable:
            self._follower.mark_stale(entry)
            return None
        except OSError as error:
            self._follower.mark_stale(entry)
            raise IndexUnavailable(self._name, f"{entry.filename} cannot be read") from error
        if details.project is not None:
            self._follower.confirm(entry, details.project)
        if details.problem:
            self._follower.skip(RejectedFile(entry.place, details.problem))
            return None
        return Listed(entry, details, self._catalogue.uploaded(details))
