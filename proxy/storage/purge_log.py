"""The projects that were purged from a cache: written by commands, read by servers on the cache."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Protocol

from proxy.runtime import in_thread

EVERYTHING = "*"
"""In a purge log: all cached data, not one project."""
MISSED = "?"
"""In a purge log: entries may have been lost, so that any project may have been purged."""


class PurgeLog(Protocol):
    """A contract; each reader reads on from the end of the log at which it was made."""

    async def append(self, projects: Iterable[str]) -> None:
        """Note the projects, or ``EVERYTHING``. Raises ``OSError``."""

    def read_new(self) -> list[str]:
        """The names that were appended since the last call, or since this object was made.

        Does not wait: returns what has arrived so far, and ``MISSED`` where names may be missing.
        """


class FilePurgeLog:
    """``PurgeLog`` with a line for each project in a file that is only appended to."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._size()
        """Bytes."""

    async def append(self, projects: Iterable[str]) -> None:
        text = "".join(f"{project}\n" for project in projects)
        await in_thread(self._append, text)

    def read_new(self) -> list[str]:
        size = self._size()
        if size < self._read:  # the cache folder was emptied by hand
            self._read = 0
        if size == self._read:
            return []
        try:
            with self._path.open("rb") as file:
                file.seek(self._read)
                lines, end, _ = file.read().rpartition(b"\n")
        except OSError:
            return []
        self._read += len(lines) + len(end)
        return lines.decode("ascii", "replace").split()

    def _append(self, text: str) -> None:
        with self._path.open("a", encoding="ascii") as file:
            file.write(text)

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
