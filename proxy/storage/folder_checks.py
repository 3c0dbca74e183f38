"""Checks that a folder is safe for records: writable by this user only, and on a local disk."""

from __future__ import annotations

import os
import re
import stat
from pathlib import Path

from proxy.errors import ConfigurationError

_SETTING = "cache_dir"
_MOUNTS = Path("/proc/self/mountinfo")
_ESCAPED = re.compile(r"\\([0-7]{3})")
_REMOTE = {"nfs", "nfs4", "cifs", "smb3", "smbfs", "afs", "ceph", "lustre", "gpfs"}
_LOCAL_FUSE = {"fuse.fuse-overlayfs"}  # the root file system of rootless containers


def private_folder(folder: Path) -> None:
    """Create the folder with mode 0700, or check that no other user can write to it.

    A group that may write, such as the volume group of a cluster, loses that right. Raises
    ``ConfigurationError`` if another user could write, and ``OSError``. A disk that is mounted
    read-only passes, whatever the owner of the folder.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = folder.lstat()
    if not stat.S_ISDIR(found.st_mode):
        raise ConfigurationError(_SETTING, f"{folder} is not a folder", "name another one")
    if os.statvfs(folder).f_flag & os.ST_RDONLY:
        return
    if found.st_uid != os.geteuid():
        raise ConfigurationError(
            _SETTING, f"{folder} belongs to another user", "let the user of the proxy own it"
        )
    if found.st_mode & stat.S_IWOTH:
        raise ConfigurationError(
            _SETTING, f"{folder} can be written by all users", f"run: chmod 700 {folder}"
        )
    if found.st_mode & stat.S_IWGRP:
        folder.chmod(0o700)


def require_local(folder: Path) -> None:
    """Raises ``ConfigurationError`` on a network file system, where SQLite files get damaged."""
    kind = file_system(folder.resolve(), _mounts())
    fuse = kind.startswith("fuse.") and kind not in _LOCAL_FUSE
    if kind in _REMOTE or kind == "fuse" or fuse:
        raise ConfigurationError(
            _SETTING,
            f"{folder} is on a network or user-space file system ({kind})",
            "use a local disk; several machines do not share a cache folder",
        )


def file_system(folder: Path, mounts: str) -> str:
    """The type of the file system of a folder, from the text of ``mountinfo``; "" if unknown."""
    best, kind = -1, ""
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = Path(_ESCAPED.sub(lambda found: chr(int(found[1], 8)), before.split(" ")[4]))
        if folder.is_relative_to(point) and len(point.parts) >= best:  # later mounts hide others
            best, kind = len(point.parts), after.split(" ")[0]
    return kind


def _mounts() -> str:
    try:
        return _MOUNTS.read_text(errors="surrogateescape")
    except OSError:  # not Linux
        return ""
