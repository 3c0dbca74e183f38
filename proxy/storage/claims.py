"""Private project names that a cache remembers, in a text file that is only appended to.

Unlike cached values, the names are never evicted, and a damaged database does not lose them. All
servers and workers on a cache append to the same file, and read what the others have appended.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import time
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from urllib.parse import quote, unquote_to_bytes

from proxy.errors import ConfigurationError, PrivateNameWithheld
from proxy.storage.base import Records
from proxy.storage.keys import RecordKind

log = logging.getLogger(__name__)

_RETRY_AFTER = 5.0
"""Seconds after a failed write."""
_NO_FILE = (0, 0)


class Claims:
    """Normalized project names, each with the directories that had files of the project.

    A line is ``+ <project> <quoted directory>``, or ``- <project>`` where a user released the
    name. Without a path nothing is stored.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.served: set[str] = set()
        """The directories that this process serves, as absolute paths."""
        self._path = path
        self._directories: dict[str, set[str]] = {}
        self._unsaved: list[tuple[str, str]] = []
        self._read = 0  # bytes
        self._file = _NO_FILE
        self._failing = False
        self._failed_at = -_RETRY_AFTER
        self._lock = asyncio.Lock()

    async def load(self, records: Records) -> None:
        """Read all claims, also from records: of other replicas, or of an older version.

        Raises ``ConfigurationError`` if the file exists and cannot be read: the names would not
        stay private.
        """
        try:
            await asyncio.to_thread(self._read_more)
        except OSError as error:
            problem = f"{self._path} cannot be read ({error.strerror}), which lists private names"
            raise ConfigurationError("cache_dir", problem, "make it readable") from None
        for key in await records.keys(RecordKind.CLAIM):
            self.add(_unquoted(key.namespace), [key.project])
        await self.save()

    @property
    def unsaved(self) -> bool:
        """Whether ``save`` has claims to write, and has not failed a moment ago."""
        return bool(self._unsaved) and time.monotonic() - self._failed_at >= _RETRY_AFTER

    def all(self) -> set[tuple[str, str]]:
        """Each name with each of its directories."""
        return {(name, one) for name, found in self._directories.items() for one in found}

    def of(self, directory: str) -> set[str]:
        """The names that this directory claims, or has claimed before."""
        return {name for name, found in self._directories.items() if directory in found}

    def is_claimed(self, project: str, directory: str) -> bool:
        return directory in self._directories.get(project, ())

    def is_withheld(self, project: str) -> bool:
        """Whether the name is private, and no served directory claims it."""
        found = self._directories.get(project)
        return found is not None and self.served.isdisjoint(found)

    def require_served(self, project: str) -> None:
        """Raises ``PrivateNameWithheld`` for a name that is withheld."""
        found = self._directories.get(project)
        if found is not None and self.served.isdisjoint(found):
            raise PrivateNameWithheld(project)

    def withheld(self) -> dict[str, list[str]]:
        """The names for which ``is_withheld`` is true, by directory."""
        found: dict[str, list[str]] = {}
        for project in filter(self.is_withheld, sorted(self._directories)):
            found.setdefault(min(self._directories[project]), []).append(project)
        return found

    def add(self, directory: str, projects: Iterable[str]) -> None:
        """Claim the names for the directory; ``save`` stores the claims."""
        for project in projects:
            found = self._directories.setdefault(project, set())
            if directory not in found:
                found.add(directory)
                self._unsaved.append((project, directory))

    def forget(self, directory: str, project: str) -> None:
        """Drop a claim in this process; ``release`` drops it in all processes."""
        found = self._directories.get(project, set())
        found.discard(directory)
        if not found:
            self._directories.pop(project, None)

    async def save(self) -> None:
        """Write new claims to the disk (fsync).

        A failure is logged; the names then stay private until this process ends.
        """
        async with self._lock:
            new = [each for each in self._unsaved if self.is_claimed(*each)]
            self._unsaved = []
            if not new:
                return
            lines = [f"+ {project} {quote(os.fsencode(one))}" for project, one in new]
            try:
                await asyncio.to_thread(self._append, lines)
                self._failing = False
            except OSError as error:
                self._unsaved = new + self._unsaved
                self._report(error)

    async def release(self, projects: Collection[str]) -> set[str]:
        """Remove the claims on the names for all servers; return the names that were claimed.

        Raises ``OSError``.
        """
        await asyncio.to_thread(self._read_more)
        found = {project for project in projects if project in self._directories}
        if found:
            await asyncio.to_thread(self._append, [f"- {project}" for project in sorted(found)])
        for project in found:
            del self._directories[project]
        return found

    async def give_up(self, projects: Collection[str]) -> None:
        """As ``release``, also for names of which only the file has claims. Raises ``OSError``."""
        await asyncio.to_thread(self._append, [f"- {project}" for project in sorted(projects)])
        for project in projects:
            self._directories.pop(project, None)

    def refresh(self) -> tuple[set[str], set[str]]:
        """Read what other processes have appended: names claimed, and names released.

        Takes microseconds if nothing was appended.
        """
        try:
            if self._found() == (self._file, self._read):
                return set(), set()
            before = {name: len(found) for name, found in self._directories.items()}
            self._read_more()
        except OSError as error:
            self._report(error)
            return set(), set()
        after = {name: len(found) for name, found in self._directories.items()}
        return {name for name in after if after[name] != before.get(name)}, set(before) - set(after)

    def _read_more(self) -> None:
        """Raises ``OSError``."""
        identity, size = self._found()
        if identity != self._file or size < self._read:
            if self._file != _NO_FILE:  # removed by hand
                known = self._directories.items()
                self._unsaved = [(name, one) for name, found in known for one in found]
            self._read, self._file = 0, identity
        if self._path is None or size == self._read:
            return
        with self._path.open("rb") as file:
            file.seek(self._read)
            whole, end, _ = file.read().rpartition(b"\n")
        self._read += len(whole) + len(end)
        for line in whole.decode("ascii", "replace").splitlines():
            self._take(line.split(" "))

    def _take(self, words: list[str]) -> None:
        """Apply a line; lines of another form, as a power cut may leave, are ignored."""
        match words:
            case ["+", project, directory]:
                self._directories.setdefault(project, set()).add(_unquoted(directory))
            case ["-", project]:
                self._directories.pop(project, None)

    def _append(self, lines: Iterable[str]) -> None:
        """Append in one write, so that lines of two processes do not mix. Raises ``OSError``."""
        if self._path is None:
            return
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = "".join(f"{line}\n" for line in ("", *lines))  # ends a line that was left unfinished
        fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            data = text.encode("ascii")
            if os.write(fd, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            _sync(fd)
            if self._file == _NO_FILE:
                self._file, _ = self._found()
        finally:
            os.close(fd)

    def _found(self) -> tuple[tuple[int, int], int]:
        try:
            found = os.stat(self._path) if self._path else None  # noqa: PTH116 (called each second)
        except FileNotFoundError:
            found = None
        return ((found.st_dev, found.st_ino), found.st_size) if found else (_NO_FILE, 0)

    def _report(self, error: OSError) -> None:
        self._failed_at = time.monotonic()
        if self._failing:
            return  # logged once until a write succeeds
        self._failing = True
        log.warning(
            "%s cannot be read or written (%s): new private names are remembered only until "
            "this process ends",
            self._path,
            error.strerror or error,
        )


def first_names(names: Sequence[str], most: int = 20) -> str:
    """The first names for a message, and the number of the others."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _sync(fd: int) -> None:
    """Sync to the disk, if the file system can; some network file systems cannot."""
    try:
        os.fsync(fd)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise


def _unquoted(directory: str) -> str:
    return os.fsdecode(unquote_to_bytes(directory))
