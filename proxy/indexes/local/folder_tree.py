"""Scans a directory: all of it, or the marked entries. All methods block and belong in threads."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple, Protocol

from proxy.distributions import DistributionName, kind_of
from proxy.errors import ProxyError
from proxy.indexes.local.inotify import Marks, Watch, Watcher
from proxy.indexes.local.scan import (
    ROOT_FOLDER,
    DirectoryEntry,
    Folder,
    Scan,
    Unstable,
    counts,
    leads_to_folder,
    root_identity,
)
from proxy.indexes.local.skip_log import EntryPath, RejectedFile
from proxy.model import Blob
from proxy.storage import DiskBlob, FileIdentity, identity_of

JUST_NOW = 2_000_000_000  # nanoseconds; no file system's clock is coarser


class Seen(NamedTuple):
    """The result of a scan; None: the folder or file is gone."""

    folders: Mapping[str, Folder | None]
    files: Mapping[EntryPath, DirectoryEntry | RejectedFile | None]

    def skipped(self) -> Iterator[RejectedFile]:
        for folder in self.folders.values():
            yield from folder.skipped if folder else ()
        yield from (found for found in self.files.values() if isinstance(found, RejectedFile))


class FileTree(Protocol):
    """Folders with files: a directory, or a zip archive. Methods that read raise ``OSError``."""

    def new_watch(self) -> Watcher:
        """Raises ``CannotWatch``."""

    def exists(self) -> bool:
        """Whether there is a root, or a link for one, even if it cannot be read. Takes a
        microsecond."""

    def scan_all(self, watch: Watcher | None) -> tuple[tuple[int, ...], Seen]:
        """The root's identity and everything in it. Raises ``CannotWatch``."""

    def scan_marked(self, marks: Marks, known: Iterable[str], watch: Watcher | None) -> Seen:
        """The marked entries. Raises ``CannotWatch``."""

    def check(
        self,
        identity: tuple[int, ...],
        stamps: Mapping[str, int],
        entries: Iterable[DirectoryEntry],
    ) -> Marks:
        """Marks for which of these folders and files are no longer what they were."""

    def is_outdated(self, entry: DirectoryEntry) -> bool:
        """Whether the file is not what the entry says, or is gone. Takes a microsecond."""

    def opened(self, entry: DirectoryEntry) -> AbstractContextManager[BinaryIO]:
        """The file, as ``Opener`` has it."""

    def blob(self, entry: DirectoryEntry, changed: Callable[[str], ProxyError]) -> Blob:
        """The file's bytes. ``changed`` makes the error for a file that is not as it was."""

    def blob_beside(
        self, entry: DirectoryEntry, suffix: str, changed: Callable[[str], ProxyError]
    ) -> Blob:
        """The bytes of the file of that suffix beside it. Raises the error of ``changed``."""


class DirectoryTree:
    """A root directory. All methods raise ``OSError``."""

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
        self._given = root
        self._path = str(root)
        self._legacy = legacy
        self._named = named
        self._clock = clock
        self._mounted = False
        self._scan = self._scan_of(root)

    def new_watch(self) -> Watcher:
        return Watch()

    def exists(self) -> bool:
        there = os.access(self._path, os.F_OK, follow_symlinks=False)
        return there and not self._given.is_file()

    def identity(self) -> tuple[int, int]:
        return root_identity(self._given)

    def scan_all(self, watch: Watcher | None) -> tuple[tuple[int, ...], Seen]:
        identity = self.identity()
        resolved = self._given.resolve(strict=True)
        self._scan = self._scan_of(resolved)
        mounted = resolved.is_mount()
        if self._mounted and not mounted:  # only the empty mount point is left
            raise OSError("its file system is not mounted any more")
        self._mounted = mounted
        root = self._list(ROOT_FOLDER, watch)
        if root is None:
            raise FileNotFoundError("the root has vanished")
        folders: dict[str, Folder | None] = {ROOT_FOLDER: root}
        self._descend(folders, root.folders, watch)
        if self.identity() != identity:
            raise OSError("the root was replaced while it was read")
        return identity, Seen(folders, {})

    def scan_marked(self, marks: Marks, known: Iterable[str], watch: Watcher | None) -> Seen:
        known = set(known)
        folders: dict[str, Folder | None] = {}
        links = {
            name for folder, name in marks.files if folder == ROOT_FOLDER and self._is_link(name)
        }
        for name in sorted(marks.folders | links):
            found = folders[name] = self._list(name, watch)
            inside = set(found.folders) if found else set()
            # A folder that was replaced has other folders below it, of the same names.
            kept = inside & known if name == ROOT_FOLDER else set()
            self._descend(folders, inside - kept, watch)
            folders |= dict.fromkeys(_below(name, known, kept) - set(folders))
        return Seen(folders, {place: self._scan.file(*place) for place in marks.files})

    def _descend(
        self, folders: dict[str, Folder | None], names: Iterable[str], watch: Watcher | None
    ) -> None:
        """List these folders and all below them."""
        waiting = list(names)
        while waiting:
            name = waiting.pop()
            found = folders[name] = self._list(name, watch)
            waiting += found.folders if found else ()

    def check(
        self,
        identity: tuple[int, ...],
        stamps: Mapping[str, int],
        entries: Iterable[DirectoryEntry],
    ) -> Marks:
        if self.identity() != identity:
            return Marks(everything=True)
        moved = {name for name, stamp in stamps.items() if not self._unchanged(name, stamp)}
        changed = {entry.place for entry in entries if self._scan.changed(entry)}
        return Marks(folders=moved, files=changed)

    def is_outdated(self, entry: DirectoryEntry) -> bool:
        try:
            return identity_of(os.lstat(entry.path)) != entry.identity
        except OSError:
            return True

    @contextmanager
    def opened(self, entry: DirectoryEntry) -> Iterator[BinaryIO]:
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
        try:
            file = os.fdopen(os.open(entry.path, flags), "rb")
        except FileNotFoundError as error:
            raise Unstable from error
        with file:
            _require_unchanged(file, entry)
            yield file
            _require_unchanged(file, entry)

    def blob(self, entry: DirectoryEntry, changed: Callable[[str], ProxyError]) -> Blob:
        identity = entry.identity
        return DiskBlob(Path(entry.path), identity[0], identity=identity, changed=changed)

    def blob_beside(
        self, entry: DirectoryEntry, suffix: str, changed: Callable[[str], ProxyError]
    ) -> Blob:
        path = Path(self._scan.root, entry.folder, entry.filename + suffix)
        try:
            found = path.lstat()
        except OSError as error:
            raise changed(path.name) from error
        if not stat.S_ISREG(found.st_mode):
            raise changed(path.name)
        return DiskBlob(path, found.st_size, identity=identity_of(found), changed=changed)

    def _is_link(self, name: str) -> bool:
        """Whether it is a link in the root that claims its name as a folder does."""
        path = self._scan.root + name
        return not kind_of(name) and Path(path).is_symlink() and leads_to_folder(path)

    def _scan_of(self, root: Path) -> Scan:
        return Scan(f"{root}/".replace("//", "/"), self._legacy, self._named, self._extra_files)

    def _list(self, folder: str, watch: Watcher | None) -> Folder | None:
        """The folder is watched before it is read, so that no change in between is lost.

        A link to a folder, or to nothing, counts as an empty folder, and is not watched.
        """
        path = self._scan.root + folder
        if not counts(folder):
            return None
        try:
            found = os.lstat(path)
            if folder and stat.S_ISLNK(found.st_mode):
                return Folder() if "/" not in folder and leads_to_folder(path) else None
            if not stat.S_ISDIR(found.st_mode):
                return None
            if watch:
                watch.follow(folder, path)
            return self._scan.folder(folder, self._stamp(found.st_mtime_ns))
        except (FileNotFoundError, NotADirectoryError):
            return None

    def _stamp(self, modified: int) -> int:
        """A change within the same tick of the file system's clock would not move it again."""
        return modified if self._clock() * 1e9 - modified > JUST_NOW else 0

    def _unchanged(self, folder: str, stamp: int) -> bool:
        try:
            return Path(self._scan.root, folder).stat().st_mtime_ns == stamp
        except FileNotFoundError:
            return False


def _require_unchanged(file: BinaryIO, entry: DirectoryEntry) -> None:
    if identity_of(os.fstat(file.fileno())) != entry.identity:
        raise Unstable


def _below(folder: str, known: Iterable[str], kept: Set[str]) -> set[str]:
    """The known folders below this one, without the kept ones in it and all below these."""
    start = f"{folder}/" if folder else ""
    below = (name for name in known if name.startswith(start) and name != folder)
    return {name for name in below if start + name[len(start) :].partition("/")[0] not in kept}
