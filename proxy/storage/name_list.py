"""A sorted list of project names in a file: a set of any size that takes no memory."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping, Set
from pathlib import Path

from proxy.runtime import open_spool


class NameList(Set[str]):
    """The names in a file that ``write_name_list`` has written. Stays usable if it is replaced."""

    def __init__(self, path: Path) -> None:
        """Raises ``OSError``."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        self.version = f"{status.st_ino}-{status.st_size}-{status.st_mtime_ns}"
        """Changes with the file."""
        self._length: int | None = None

    def __iter__(self) -> Iterator[str]:
        """Sorted."""
        at, data = 0, self._data
        while (end := data.find(b"\n", at)) >= 0:
            yield data[at:end].decode("ascii")
            at = end + 1

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str):
            return False
        wanted, data = name.encode("utf-8", "replace"), self._data
        low, high = 0, len(data)
        while low < high:  # offsets of lines
            middle = data.rfind(b"\n", low, (low + high) // 2) + 1 or low
            end = data.find(b"\n", middle)
            found = data[middle:end]
            if found == wanted:
                return True
            low, high = (end + 1, high) if found < wanted else (low, middle)
        return False

    def containing(self, word: str, limit: int) -> list[str]:
        """Names with the word in them, those that begin with it first, each group sorted."""
        wanted, data = word.encode("ascii", "replace"), self._data
        first: list[str] = []
        others: list[str] = []
        at = 0
        while len(first) + len(others) < limit and (at := data.find(wanted, at)) >= 0:
            start, end = data.rfind(b"\n", 0, at) + 1, data.find(b"\n", at)
            (first if start == at else others).append(data[start:end].decode("ascii"))
            at = end
        return first + others

    def __len__(self) -> int:
        if self._length is None:
            self._length = sum(1 for _ in self)
        return self._length


def write_name_list(path: Path, parts: Mapping[str, bytearray]) -> None:
    """Replace the file. ``parts``: names by their first character, each with a line break.

    In parts, since only one of them is in memory as a list. Raises ``OSError``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    fd, temporary = open_spool(path.parent)
    try:
        with os.fdopen(fd, "wb") as file:
            for first in sorted(parts):
                for name in sorted(set(bytes(parts[first]).split())):
                    file.write(name + b"\n")
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
