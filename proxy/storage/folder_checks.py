"""Whether a folder is fit to hold what the proxy trusts: ours alone, and on a local disk."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from proxy.errors import ConfigurationError

_KEY = "cache_dir"
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs"}
_LOCAL_FUSE = {"fuse.fuse-overlayfs"}  # the root of containers that run without root


def private_folder(folder: Path) -> None:
    """Make the folder, readable by nobody else, or make sure that it is ours.

    A group that may write, as a volume's group of a cluster, loses that right. Raises
    ``ConfigurationError`` where somebody else could write, and ``OSError``. On a disk that is
    mounted read-only nobody can, whoever owned it where it was written.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(_KEY, f"{folder} is not a folder", "name another one")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            _KEY, f"{folder} belongs to another user", "let the user of the proxy own it"
        )
    if found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            _KEY, f"{folder} can be written by everybody", f"run: chmod 700 {folder}"
        )
    if found.st_mode & stat.S_IWGRP:
        folder.chmod(0o700)


def require_local(folder: Path) -> None:
    """Raises ``ConfigurationError`` on a network file system: SQLite's files break there."""
    kind = file_system(folder.resolve(), _mounts())
    fuse = kind.startswith("fuse.") and kind not in _LOCAL_FUSE
    if kind in _REMOTE or kind == "fuse" or fuse:
        raise ConfigurationError(
            _KEY,
            f"{folder} is on a network or user-space file system ({kind})",
            "use a local disk; several machines do not share a cache folder",
        )


def file_system(folder: Path, mounts: str) -> str:
    """The kind of file system that a folder is on, by the text of ``mountinfo``; "" if unknown."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4]))
        if folder.is_relative_to(point) and len(point.parts) >= best:  # the last one lies on top
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _mounts() -> str:
    try:
        return _MOUNTS.read_text(errors="surrogateescape")
    except OSError:  # not Linux
        return ""
