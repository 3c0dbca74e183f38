"""Place a distribution in a tree: as hard link, symbolic link or copy. Blocks on the disk."""

from __future__ import annotations

import hashlib
import shutil
import stat
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class Placement(StrEnum):
    """How a distribution is placed."""

    HARD = "hard"
    """A copy, if the file system does not allow a hard link."""
    SYMLINK = "symlink"
    """As ``HARD`` for a file in an archive."""
    COPY = "copy"


@dataclass(frozen=True, slots=True)
class FileContent:
    """A file on this machine that is placed in the tree."""

    source: Path
    """Absolute."""
    size: int
    """Bytes."""
    sha256: str
    in_store: bool = False
    """Whether it is in the cache, whose folder other users cannot enter."""
    temporary: bool = False
    """Whether it is deleted after the export, so that a symbolic link would lead nowhere."""


def is_placed(target: Path, content: FileContent, how: Placement) -> bool:
    """Whether the file is placed already, judged by kind and size."""
    if how is Placement.SYMLINK and not content.temporary:
        return target.is_symlink() and target.readlink() == content.source
    try:
        found = target.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(found.st_mode) or found.st_size != content.size:
        return False
    if how is Placement.HARD and target.samefile(content.source):
        return True
    return found.st_nlink == 1  # a file with another name may be changed through that


def place(path: Path, content: FileContent, how: Placement, readable: int) -> None:
    """Create the file at ``path``, which does not exist. Raises ``OSError``.

    ``readable``: the read bits of new files in the tree, which a linked file needs too.
    """
    if how is Placement.SYMLINK and not content.temporary:
        path.symlink_to(content.source)
    elif how is Placement.COPY or not _try_link(path, content, readable):
        path.unlink(missing_ok=True)
        shutil.copyfile(content.source, path)


def has_digest(path: Path, content: FileContent) -> bool:
    """Whether the file has the expected digest. Reads the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == content.sha256


def _try_link(path: Path, content: FileContent, readable: int) -> bool:
    """Whether a hard link was made that a web server can read.

    A link shares its permissions with its source. Permissions of the user's own files are not
    changed; a file in the cache stays protected by its folder.
    """
    try:
        path.hardlink_to(content.source)
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode):
            return False
        if found.st_mode & readable == readable:
            return True
        if content.in_store:
            path.chmod(stat.S_IMODE(found.st_mode) | readable)
    except OSError:
        return False
    return content.in_store
