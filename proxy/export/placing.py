"""One distribution in the tree: a hard link, a symbolic link or a copy. Blocks on the disk."""

from __future__ import annotations

import hashlib
import shutil
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class How(StrEnum):
    """How a distribution comes into the tree."""

    HARD = "hard"
    """Where the file system does not allow that, a copy."""
    SYMLINK = "symlink"
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class Content:
    """A file on this disk that is to appear in the tree."""

    source: Path
    """Absolute."""
    size: int
    """Bytes."""
    sha256: str
    ours: bool = False
    """In our own store, whose folder nobody else can enter."""


def is_placed(target: Path, content: Content, how: How) -> bool:
    """Whether the file is there already, going by its kind and size."""
    if how is How.SYMLINK:
        return target.is_symlink() and target.readlink() == content.source
    try:
        found = target.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size != content.size:
        return False
    if how is How.HARD and target.samefile(content.source):
        return True
    return found.st_nlink == 1  # with another name it may be written to under that


def place(path: Path, content: Content, how: How, readable: int) -> None:
    """Make it anew at ``path``, where nothing is. Raises ``OSError``.

    ``readable``: the read bits that a new file of ours gets, which a linked one needs too.
    """
    if how is How.SYMLINK:
        path.symlink_to(content.source)
    elif how is How.COPY or not _link(path, content, readable):
        path.unlink(missing_ok=True)
        shutil.copyfile(content.source, path)


def is_right(path: Path, content: Content) -> bool:
    """Whether the bytes have the digest. Reads the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256


def _link(path: Path, content: Content, readable: int) -> bool:
    """False if a link is not allowed, or if the web server could not read what it leads to.

    A link shares its permissions with its source. Those of somebody's own files are not ours
    to change; a file in our store stays as hidden as its folder.
    """
    try:
        path.hardlink_to(content.source)
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return False
        if found.st_mode & readable == readable:
            return True
        if content.ours:
            path.chmod(stat.S_IMODE(found.st_mode) | readable)
    except OSError:
        return False
    return content.ours
