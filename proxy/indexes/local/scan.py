"""What lies in a local directory: names and stats. All functions block, and open no distribution.

Files lie in the root or one level below it; deeper ones are not looked for.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import msgspec

from proxy.distributions.filename import Kind, identify, kind_of, readings
from proxy.indexes.local.skipped import Place, Skipped
from proxy.model import ProjectName
from proxy.storage.disk import Identity, identity_of

ROOT = ""
"""The folder name of the root itself."""

SIDECAR = ".yanked"
"""A file of this suffix beside a distribution yanks it (PEP 592); its content is the reason."""

_LONGEST_REASON = 4096
_JUST_NOW = 2_000_000_000  # nanoseconds; no file system's clock is coarser
_NO_PROJECTS = frozenset({"lost+found"})


class Entry(msgspec.Struct, frozen=True):
    """A distribution file as the directory shows it."""

    folder: str
    filename: str
    path: str
    """Without symbolic links."""
    identity: Identity
    project: ProjectName
    """The likeliest reading of the name, if not ``certain``."""
    certain: bool
    yanked: bool | str = False
    sidecar: Identity | None = None
    linked: bool = False

    @property
    def place(self) -> Place:
        return self.folder, self.filename

    @property
    def candidates(self) -> tuple[ProjectName, ...]:
        """Every project whose file this can be."""
        if self.certain:
            return (self.project,)
        return tuple(name for name, _ in readings(self.filename))


class Folder(msgspec.Struct):
    """All that was found in one folder."""

    entries: dict[str, Entry] = {}
    skipped: list[Skipped] = []
    folders: list[str] = []
    """Only in the root: the folders below."""
    stamp: int = 0
    """Modification time, by which a later change is noticed; 0 where it would not be."""


def root_identity(root: Path) -> tuple[int, int]:
    """Device and inode: another file system mounted there, or a new directory, has others."""
    found = root.stat()
    if not stat.S_ISDIR(found.st_mode):
        raise NotADirectoryError("the root is not a directory")
    return found.st_dev, found.st_ino


def counts(folder: str) -> bool:
    """Whether a folder of that name in the root is looked into."""
    return folder.isprintable() and not folder.startswith(".") and folder not in _NO_PROJECTS


def list_folder(root: Path, folder: str, now: float, *, legacy: bool) -> Folder:
    """The entries of the root or of a folder in it; a linked folder counts as empty.

    ``now`` is Unix time in seconds. Raises ``OSError``.
    """
    path = root / folder
    found = Folder()
    if folder and path.is_symlink():
        return found
    stamp = path.stat().st_mtime_ns
    # A change within the same tick of the file system's clock would not move the stamp again.
    found.stamp = stamp if now * 1e9 - stamp > _JUST_NOW else 0
    with os.scandir(path) as items:
        names = {item.name: item for item in items}
    for name, item in names.items():
        if folder == ROOT and item.is_dir():
            if counts(name):
                found.folders.append(name)
        elif kind_of(name) and not name.startswith("."):
            seen = _look(root, folder, name, legacy=legacy, yanked=name + SIDECAR in names)
            if isinstance(seen, Entry):
                found.entries[name] = seen
            elif seen:
                found.skipped.append(seen)
    return found


def look(root: Path, folder: str, filename: str, *, legacy: bool) -> Entry | Skipped | None:
    """One file anew; None if there is none. Raises ``OSError``."""
    if not kind_of(filename) or filename.startswith("."):
        return None
    return _look(root, folder, filename, legacy=legacy, yanked=True)


def changed(root: Path, entry: Entry) -> bool:
    """Whether the file or its sidecar is no longer what the entry says."""
    path = root / entry.folder / entry.filename
    return (
        _identity(path) != entry.identity
        or _identity(path.with_name(entry.filename + SIDECAR)) != entry.sidecar
    )


def _look(
    root: Path, folder: str, filename: str, *, legacy: bool, yanked: bool
) -> Entry | Skipped | None:
    path = root / folder / filename
    try:
        found = path.lstat()
        if linked := stat.S_ISLNK(found.st_mode):
            path = path.resolve()
            found = path.lstat()
    except FileNotFoundError:
        return None
    if not stat.S_ISREG(found.st_mode):
        return None
    said = identify(filename)
    if reason := _refusal(root, path, filename, said is not None, legacy=legacy):
        return Skipped((folder, filename), reason)
    assert said is not None
    mark, sidecar = _yanked(root / folder / (filename + SIDECAR)) if yanked else (False, None)
    return Entry(
        folder=folder,
        filename=filename,
        path=str(path),
        identity=identity_of(found),
        project=said.project,
        certain=said.certain,
        yanked=mark,
        sidecar=sidecar,
        linked=linked,
    )


def _refusal(root: Path, path: Path, filename: str, readable: bool, *, legacy: bool) -> str:
    if not path.is_relative_to(root):
        return "it is a link that leaves the directory"
    if kind_of(filename) is Kind.LEGACY and not legacy:
        return "its format is one of those that are not listed"
    return "" if readable else "its name tells no project and version"


def _yanked(sidecar: Path) -> tuple[bool | str, Identity | None]:
    identity = _identity(sidecar)
    if identity is None:
        return False, None
    try:
        with sidecar.open("rb") as file:
            text = file.read(_LONGEST_REASON).decode("utf-8", "replace")
    except OSError:
        return True, identity  # somebody wants it yanked, whatever the reason is
    return " ".join("".join(c if c.isprintable() else " " for c in text).split()) or True, identity


def _identity(path: Path) -> Identity | None:
    try:
        return identity_of(path.stat())
    except FileNotFoundError:
        return None
