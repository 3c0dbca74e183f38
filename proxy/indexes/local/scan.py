"""Lists a local directory: names and stats of its files. Blocks, and opens no distribution.

Folders are read at any depth; links to folders are not followed. Paths are text: a path object
for each of thousands of files costs more than the stats. Files that
look like distributions and are not listed are ``RejectedFile``.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Container
from pathlib import Path

import msgspec

from proxy.distributions import (
    DistributionKind,
    DistributionName,
    kind_of,
    looks_like_distribution,
    split_readings,
)
from proxy.indexes.local.skip_log import EntryPath, RejectedFile
from proxy.model import (
    EXTRA_SUFFIXES,
    PROJECT_STATUSES,
    PROVENANCE,
    STATUS_FILE,
    YANKED_SUFFIX,
    ProjectName,
    ProjectStatus,
)
from proxy.storage import FileIdentity, identity_of

ROOT_FOLDER = ""
"""The folder name of the root itself."""

MAX_SIDECAR = 4096
"""Bytes of a ``.yanked`` or status file that are read."""
_NO_PROJECTS = frozenset({"lost+found"})


class DirectoryEntry(msgspec.Struct, frozen=True, gc=False):
    """A distribution file as the directory shows it."""

    folder: str
    filename: str
    path: str
    """Without symbolic links."""
    identity: FileIdentity
    project: ProjectName
    """The likeliest reading of the name, if not ``certain``."""
    certain: bool
    linked: bool = False
    yanked: bool | str = False
    sidecar: FileIdentity | None = None
    beside: tuple[str, ...] = ()
    """As in ``File``."""
    provenance: bool = False
    """Whether a ``.provenance`` file (PEP 740) is beside it."""

    @property
    def place(self) -> EntryPath:
        return self.folder, self.filename

    @property
    def candidates(self) -> tuple[ProjectName, ...]:
        """Every project whose file this can be."""
        if self.certain:
            return (self.project,)
        return tuple(name for name, _ in split_readings(self.filename))


class Unstable(Exception):
    """The file has changed since the directory was listed."""


class Folder(msgspec.Struct):
    """The entries of one folder."""

    entries: dict[str, DirectoryEntry] = {}
    skipped: list[RejectedFile] = []
    folders: list[str] = []
    """The folders directly below, by their paths from the root."""
    status: ProjectStatus | None = None
    stamp: int = 0
    """Modification time, which a later change moves; 0 where it might not."""


def root_identity(root: Path) -> tuple[int, int]:
    """Device and inode: another file system mounted there, or a new directory, has others."""
    found = root.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError("the root is not a directory")
    return found.st_dev, found.st_ino


def joined(folder: str, name: str) -> str:
    """The path from the root of what lies in a folder."""
    return f"{folder}/{name}" if folder else name


def counts(folder: str) -> bool:
    """Whether a folder of that path from the root is looked into."""
    name = folder.rpartition("/")[2]
    return name.isprintable() and not name.startswith(".") and name not in _NO_PROJECTS


class Scan(msgspec.Struct, frozen=True):
    """Looks at a folder or a file. All methods raise ``OSError``."""

    root: str
    """Without symbolic links, and with a slash at its end."""
    legacy: bool
    """Whether files of ``Kind.LEGACY`` are listed."""
    named: Callable[[EntryPath, FileIdentity], DistributionName | None]
    """The project and version that a file's name means; None if it has none."""
    extra_files: bool = False
    """Whether signatures and other files beside distributions are listed."""

    def folder(self, folder: str, stamp: int) -> Folder:
        """The root or a folder below it, which must not be a link."""
        found = Folder(stamp=stamp)
        with os.scandir(self.root + folder) as items:
            listed = {item.name: item for item in items}
        if STATUS_FILE in listed:
            found.status = _status(Path(self._path(folder, STATUS_FILE)))
        for name, item in listed.items():
            if self._is_folder(folder, item):
                if counts(name):
                    found.folders.append(joined(folder, name))
                elif not name.isprintable():
                    reason = "nothing in a folder of such a name is read"
                    found.skipped.append(RejectedFile((folder, name), reason))
            seen = self.file(folder, name, yanked=name + YANKED_SUFFIX in listed, others=listed)
            if isinstance(seen, DirectoryEntry):
                found.entries[name] = seen
            elif seen:
                found.skipped.append(seen)
        return found

    def _is_folder(self, folder: str, item: os.DirEntry[str]) -> bool:
        """Whether to look at an entry. Of links only those in the root, as these claim names."""
        if not item.is_symlink():
            return item.is_dir()
        return folder == ROOT_FOLDER and kind_of(item.name) is None and leads_to_folder(item.path)

    def file(
        self,
        folder: str,
        filename: str,
        *,
        yanked: bool = True,
        others: Container[str] | None = None,
    ) -> DirectoryEntry | RejectedFile | None:
        """One file, or None. ``yanked``: it may have a sidecar. ``others``: names in its folder."""
        kind = kind_of(filename)
        place = (folder, filename)
        if kind is None or filename.startswith("."):
            return self._other(place, kind is not None or looks_like_distribution(filename))
        shown = self._path(folder, filename)
        try:
            there = _regular(shown)
        except FileNotFoundError:
            return None
        refused = there if isinstance(there, str) else self._refused(there[0], kind)
        if isinstance(there, str) or refused:
            return RejectedFile(place, refused)
        path, identity = there[0], identity_of(there[1])
        if (said := self.named(place, identity)) is None:
            return RejectedFile(place, "its name does not have a project and a version")
        mark = _yanked(shown + YANKED_SUFFIX) if yanked else _NOT_YANKED
        linked = path != shown
        beside = self._beside(shown, filename, others) if self.extra_files else ()
        proved = others is None or filename + PROVENANCE in others
        return DirectoryEntry(
            *(folder, filename, path, identity, said.project, said.certain, linked, *mark, beside),
            provenance=proved and _is_regular(shown + PROVENANCE),
        )

    def _beside(self, path: str, filename: str, others: Container[str] | None) -> tuple[str, ...]:
        suffixes = (each for each in EXTRA_SUFFIXES if others is None or filename + each in others)
        return tuple(each for each in suffixes if _is_regular(path + each))

    def changed(self, entry: DirectoryEntry) -> bool:
        """Whether the file or its sidecar is no longer what the entry says."""
        path = self._path(entry.folder, entry.filename)
        return (
            _identity(Path(path)) != entry.identity
            or _identity(Path(path + YANKED_SUFFIX)) != entry.sidecar
        )

    def _refused(self, path: str, kind: DistributionKind) -> str:
        """Why a regular file is not listed, as far as that needs no look at its name."""
        if not path.startswith(self.root):
            return "it is a link that leaves the directory"
        if kind is DistributionKind.LEGACY and not self.legacy:
            return "its format is one of those that are not listed"
        return ""

    def _path(self, folder: str, filename: str) -> str:
        return f"{self.root}{folder}/{filename}" if folder else self.root + filename

    def _other(self, place: EntryPath, similar: bool) -> RejectedFile | None:
        """A file that is no distribution by its suffix, but may claim a name."""
        path = self._path(*place)
        if similar and os.path.lexists(path):
            return RejectedFile(place, "it only looks like a distribution", is_expected=True)
        if place[1][0] != "." and Path(path).is_symlink() and leads_to_folder(path):
            return RejectedFile(place, "it is a link to a folder, which is not followed")
        return None


def leads_to_folder(path: str) -> bool:
    """Whether a link is for a folder, or leads nowhere, as to a share that is not mounted."""
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        return True


def _is_regular(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


_NOT_YANKED = False, None


def _regular(path: str) -> tuple[str, os.stat_result] | str:
    """The file, or the one that a link leads to, or why there is none. Raises ``OSError``."""
    found = os.lstat(path)
    if stat.S_ISLNK(found.st_mode):
        path = os.path.realpath(path)
        try:
            found = os.lstat(path)
        except OSError as error:
            return f"it is a link that leads nowhere ({error.strerror})"
    return (path, found) if stat.S_ISREG(found.st_mode) else "it is not a regular file"


def _yanked(path: str) -> tuple[bool | str, FileIdentity | None]:
    sidecar = Path(path)
    identity = _identity(sidecar)
    if identity is None:
        return _NOT_YANKED
    try:
        with sidecar.open("rb") as file:
            return yank_reason(file.read(MAX_SIDECAR)), identity
    except OSError:
        return True, identity  # the file is to be yanked, even if the reason is unreadable


def _status(path: Path) -> ProjectStatus | None:
    """The status in the file; None if there is none that can be read."""
    try:
        with path.open("rb") as file:
            found = msgspec.json.decode(file.read(MAX_SIDECAR), type=ProjectStatus)
            return found if found.status in PROJECT_STATUSES else None
    except (OSError, msgspec.MsgspecError):
        return None


def yank_reason(content: bytes) -> bool | str:
    """The reason in a ``.yanked`` file, in one line; True: it has none."""
    text = content.decode("utf-8", "replace")
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or True


def _identity(path: Path) -> FileIdentity | None:
    try:
        return identity_of(path.stat())
    except FileNotFoundError:
        return None
