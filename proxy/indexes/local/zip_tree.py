"""A zip archive of distributions as a tree of files, which are served without unpacking it.

The archive is one thing: each change of it may change every file, and an archive that is damaged,
ambiguous or hostile is not read at all.
"""

from __future__ import annotations

import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import msgspec

from proxy.distributions import (
    DistributionKind,
    DistributionName,
    UnusableArchive,
    ZipMember,
    kind_of,
    list_zip_members,
    looks_like_distribution,
    unpack_zip_member,
)
from proxy.errors import ProxyError
from proxy.indexes.local.folder_tree import JUST_NOW, Seen
from proxy.indexes.local.inotify import Marks, Watcher
from proxy.indexes.local.scan import (
    MAX_SIDECAR,
    DirectoryEntry,
    Folder,
    Unstable,
    counts,
    yank_reason,
)
from proxy.indexes.local.skip_log import EntryPath, RejectedFile
from proxy.indexes.local.zip_member import ZipMemberBlob, member_file, open_archive
from proxy.model import EXTRA_SUFFIXES, MAX_EXTRA_FILE, PROVENANCE, YANKED_SUFFIX, Blob
from proxy.storage import FileIdentity, identity_of

MAX_DEPTH = 32
"""Folders inside of each other."""
MAX_FOLDERS = 100_000
HARMLESS_SIZE = 64 * 2**20
"""Bytes to which any member may unpack."""
MAX_RATIO = 50
"""Times that a larger member may be larger than its packed bytes."""


def is_zip(path: Path) -> bool:
    """Whether a path in the settings means a zip archive, which may be missing now."""
    return path.suffix == ".zip" and not path.is_dir()


class _Listing(msgspec.Struct):
    """The content of the archive."""

    identity: FileIdentity = ()
    settled: bool = False
    """Whether a later change shows: one within the same tick of the clock would not."""
    members: Mapping[EntryPath, ZipMember] = {}
    found: Mapping[EntryPath, DirectoryEntry | RejectedFile] = {}
    folders: Mapping[str, Folder] = {}


class ZipTree:
    """A zip archive. Methods that read raise ``OSError``, also for an archive that is refused."""

    def __init__(
        self,
        root: Path,
        *,
        legacy: bool,
        named: Callable[[EntryPath, FileIdentity], DistributionName | None],
        clock: Callable[[], float],
        extra_files: bool = False,
    ) -> None:
        """As in ``Scan``; ``clock`` gives Unix time in seconds."""
        self._extra_files = extra_files
        self._path = root
        self._legacy = legacy
        self._named = named
        self._clock = clock
        self._listing = _Listing()

    def new_watch(self) -> Watcher:
        return ZipWatch(self.has_changed)

    def exists(self) -> bool:
        return self._path.is_file()

    def has_changed(self) -> bool:
        """Whether it may be another archive than at the last scan. Takes microseconds."""
        listing = self._listing
        try:
            return not listing.settled or identity_of(self._path.stat()) != listing.identity
        except OSError:
            return True

    def scan_all(self, watch: Watcher | None) -> tuple[tuple[int, ...], Seen]:
        with open_archive(self._path) as file:
            identity = identity_of(os.fstat(file.fileno()))
            try:
                listing = self._list(file, identity)
            except UnusableArchive as error:
                raise OSError(error.reason) from error
            if identity_of(os.fstat(file.fileno())) != identity:
                raise OSError("it changed while it was read")
        self._listing = listing
        return identity, Seen(listing.folders, {})

    def scan_marked(self, marks: Marks, known: Iterable[str], watch: Watcher | None) -> Seen:
        """As at the last scan, since another archive is noticed as a whole."""
        return Seen({}, {place: self._listing.found.get(place) for place in marks.files})

    def check(
        self,
        identity: tuple[int, ...],
        stamps: Mapping[str, int],
        entries: Iterable[DirectoryEntry],
    ) -> Marks:
        return Marks(everything=self.has_changed() or identity != self._listing.identity)

    def is_outdated(self, entry: DirectoryEntry) -> bool:
        return False  # a member changes with its archive, of which there is an event

    @contextmanager
    def opened(self, entry: DirectoryEntry) -> Iterator[BinaryIO]:
        """A compressed member is unpacked into a temporary file without a name.

        Raises ``UnusableArchive`` for a damaged member.
        """
        listing, member = self._listing, self._member(entry)
        if member is None:
            raise Unstable
        with open_archive(self._path) as archive:
            _require_unchanged(archive, listing)
            if member.stored:
                deque(unpack_zip_member(archive, member), maxlen=0)  # checks it
                yield member_file(archive, member)
            else:
                with tempfile.TemporaryFile() as file:
                    file.writelines(unpack_zip_member(archive, member))
                    file.seek(0)
                    yield file
            _require_unchanged(archive, listing)

    def blob(self, entry: DirectoryEntry, changed: Callable[[str], ProxyError]) -> Blob:
        member, identity = self._member(entry), self._listing.identity
        if member is None:
            raise changed(entry.filename)
        return ZipMemberBlob(self._path, identity, member, lambda: changed(entry.filename))

    def blob_beside(
        self, entry: DirectoryEntry, suffix: str, changed: Callable[[str], ProxyError]
    ) -> Blob:
        listing, name = self._listing, entry.filename + suffix
        member = listing.members.get((entry.folder, name))
        if member is None or self._member(entry) is None:
            raise changed(name)
        return ZipMemberBlob(self._path, listing.identity, member, lambda: changed(name))

    def _member(self, entry: DirectoryEntry) -> ZipMember | None:
        """None if the archive is another one than when the entry was made."""
        listing = self._listing
        member = listing.members.get(entry.place)
        same = member and _identity(member, listing.identity) == entry.identity
        return member if same else None

    def _list(self, file: BinaryIO, identity: FileIdentity) -> _Listing:
        """Raises ``UnusableArchive``."""
        found: dict[EntryPath, DirectoryEntry | RejectedFile] = {}
        folders = {"": Folder()}
        members: dict[EntryPath, ZipMember] = {}
        for member in list_zip_members(file):
            folder, _, filename = member.name.rpartition("/")
            _add_folders(folders, folder)
            if filename and folder in folders:
                members[folder, filename] = member
        for (folder, filename), member in members.items():
            entry = self._entry((folder, filename), member, identity)
            sidecar = members.get((folder, filename + YANKED_SUFFIX))
            if isinstance(entry, DirectoryEntry):
                beside = _beside(entry, members)
                entry = msgspec.structs.replace(
                    entry,
                    provenance=PROVENANCE in beside,
                    beside=beside[PROVENANCE in beside :] if self._extra_files else (),
                )
                if sidecar:
                    entry = msgspec.structs.replace(entry, yanked=_reason(file, sidecar))
                folders[folder].entries[filename] = entry
            elif entry:
                folders[folder].skipped.append(entry)
            if entry:
                found[folder, filename] = entry
        settled = self._clock() * 1e9 - max(identity[1], identity[3]) > JUST_NOW
        return _Listing(identity, settled, members, found, folders)

    def _entry(
        self, place: EntryPath, member: ZipMember, archive: FileIdentity
    ) -> DirectoryEntry | RejectedFile | None:
        """None if it is no distribution and claims no name."""
        folder, filename = place
        kind = kind_of(filename)
        if kind is None or filename.startswith("."):
            similar = kind is not None or looks_like_distribution(filename)
            problem = "it only looks like a distribution"
            return RejectedFile(place, problem, is_expected=True) if similar else None
        identity = _identity(member, archive)
        said = self._named(place, identity)
        if refused := self._refused(member, kind):
            return RejectedFile(place, refused)
        if said is None:
            return RejectedFile(place, "its name does not have a project and a version")
        path = f"{self._path}/{member.name}"
        return DirectoryEntry(folder, filename, path, identity, said.project, said.certain)

    def _refused(self, member: ZipMember, kind: DistributionKind) -> str:
        if member.is_link:
            return "it is a link, and links in archives are not followed"
        if kind is DistributionKind.LEGACY and not self._legacy:
            return "its format is one of those that are not listed"
        if member.size > max(HARMLESS_SIZE, MAX_RATIO * member.packed):
            return "it unpacks to suspiciously many bytes"
        return ""


class ZipWatch:
    """Notices by a look at the archive whether it is another one."""

    def __init__(self, has_changed: Callable[[], bool]) -> None:
        self.writing: set[EntryPath] = set()
        self._has_changed = has_changed

    def has_events(self, timeout: int, /) -> object:
        return self._has_changed()

    def follow(self, folder: str, path: str) -> None:
        """There is nothing to follow."""

    def read(self) -> Marks | None:
        return Marks(everything=True) if self._has_changed() else None

    def close(self) -> None:
        """There is nothing to close."""


def _beside(entry: DirectoryEntry, members: Mapping[EntryPath, ZipMember]) -> tuple[str, ...]:
    """The suffixes of small files beside a distribution, that of its provenance first."""
    suffixes = (PROVENANCE, *EXTRA_SUFFIXES)
    found = ((each, members.get((entry.folder, entry.filename + each))) for each in suffixes)
    return tuple(each for each, it in found if it and not it.is_link and it.size <= MAX_EXTRA_FILE)


def _identity(member: ZipMember, archive: FileIdentity) -> FileIdentity:
    """As of a file with the size of the member and the times of the archive."""
    return (member.size, *archive[1:], member.offset, member.crc)


def _require_unchanged(archive: BinaryIO, listing: _Listing) -> None:
    if identity_of(os.fstat(archive.fileno())) != listing.identity:
        raise Unstable


def _add_folders(folders: dict[str, Folder], path: str) -> None:
    """Add a folder and those above it, unless nothing in it is read.

    Raises ``UnusableArchive`` for more folders than any collection has.
    """
    if path in folders:
        return
    parts = path.split("/")
    if len(parts) > MAX_DEPTH or len(folders) > MAX_FOLDERS:
        raise UnusableArchive("it has too many folders")
    if all(map(counts, parts)) and all(parts):
        for end in range(1, len(parts) + 1):
            folders.setdefault("/".join(parts[:end]), Folder())


def _reason(file: BinaryIO, sidecar: ZipMember) -> bool | str:
    """Raises ``UnusableArchive``."""
    content = next(unpack_zip_member(file, sidecar), b"")
    return yank_reason(content[:MAX_SIDECAR])
