"""One at a time, among all processes on one cache folder."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether nobody else, here or in another process, is at it, and one may write at all.

    ``path`` is that of the lock, a file that is made if need be.
    """
    with ExitStack() as stack:
        try:
            lock = stack.enter_context(path.open("a"))
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            mine = False
        else:
            mine = True
        yield mine
