"""What was purged from a cache, told to the servers that are running on it through a file."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

EVERYTHING = "*"


class PurgeLog:
    """One line a project in a file that is only appended to; each reader reads on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = self._size()

    def append(self, projects: Iterable[str]) -> None:
        """Tell that these were purged. Raises ``OSError``."""
        with self._path.open("a", encoding="ascii") as file:
            file.write("".join(f"{project}\n" for project in projects))

    def read_new(self) -> list[str]:
        """The projects, or ``EVERYTHING``, that were purged since the last call, or since made."""
        size = self._size()
        if size < self._read:  # somebody emptied the cache folder by hand
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

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except OSError:
            return 0
