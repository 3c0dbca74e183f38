"""Files that are not finished, and the removal of those whose writer has died.

Each is locked by its writer: the kernel drops a lock with the process, however it ends, and
a reused process number cannot pretend to hold it.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from pathlib import Path

_SUFFIX = ".part"


def open_spool(folder: Path) -> tuple[int, Path]:
    """A new empty file and its descriptor, which the caller closes; until then it is locked.

    The folder is made if need be. Blocks on the disk. Raises ``OSError``.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        path = folder / f"{os.getpid()}-{secrets.token_hex(12)}{_SUFFIX}"
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(fd).st_nlink:
                return fd, path
        except BlockingIOError:
            pass
        except OSError:
            os.close(fd)
            path.unlink(missing_ok=True)
            raise
        os.close(fd)  # a process that has just started took it for a leftover


def remove_abandoned(folder: Path) -> int:
    """Remove the unfinished files of dead processes; how many those were.

    Other processes may be writing to the same folder. What was not made by ``open_spool``
    stays. Blocks on the disk.
    """
    return sum(_remove_unlocked(path) for path in folder.glob(f"*{_SUFFIX}"))


def _remove_unlocked(path: Path) -> bool:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:  # finished meanwhile
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()
    except OSError:  # still being written, or not ours to remove
        return False
    else:
        return True
    finally:
        os.close(fd)
