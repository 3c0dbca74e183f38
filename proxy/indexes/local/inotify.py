"""Watches directories with inotify; turns events into marks of entries to scan again.

The kernel queues an event before the system call that made the change returns, so a later read
of the queue always includes the change. Linux only; elsewhere ``Watch`` raises ``CannotWatch``.
"""

from __future__ import annotations

import errno
import os
import select
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy.distributions import kind_of, looks_like_distribution
from proxy.indexes.local.scan import ROOT_FOLDER, joined
from proxy.indexes.local.skip_log import EntryPath
from proxy.model import EXTRA_SUFFIXES, PROVENANCE, STATUS_FILE, YANKED_SUFFIX, distribution_of

_BUFFER_SIZE = 64 * 1024
"""Bytes of events that are read at a time."""
_MAX_EVENT_READS = 64
"""Reads of the queue in one go, so that the loop ends even if events come faster than it reads."""
_SCARCE = {errno.ENOSPC, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOSYS}


class CannotWatch(Exception):
    """There is no inotify here, or no more of it."""


@dataclass
class Marks:
    """Entries to scan again."""

    everything: bool = False
    """Events may be lost, or the root is another directory: watch and list everything again."""
    folders: set[str] = field(default_factory=set)
    files: set[EntryPath] = field(default_factory=set)
    others: bool = False
    """An entry changed that is no distribution, such as the target of a link."""

    def __bool__(self) -> bool:
        return self.everything or self.others or bool(self.folders) or bool(self.files)

    def add(self, other: Marks) -> None:
        self.everything |= other.everything
        self.folders |= other.folders
        self.files |= other.files
        self.others |= other.others


class Watcher(Protocol):
    """Notices changes without waiting."""

    writing: set[EntryPath]
    """Files that were written to and are not yet closed."""

    def has_events(self, timeout: int, /) -> object:
        """Whether something has changed; called with 0, never waits."""

    def follow(self, folder: str, path: str) -> None:
        """Watch from now on. Raises ``CannotWatch`` where watches have run out, ``OSError``."""

    def read(self) -> Marks | None:
        """The changes since the last call; None: there are none. Never waits."""

    def close(self) -> None: ...


class Watch:
    """Follows folders, one by one."""

    def __init__(self) -> None:
        self.writing: set[EntryPath] = set()
        """Files that were written to and are not yet closed."""
        self._folders: dict[int, str] = {}
        self._lock = threading.Lock()  # folders are added in threads, events read on the loop
        if not sys.platform.startswith("linux"):
            raise CannotWatch("this system has no inotify")
        try:
            import inotify_simple

            self._inotify: Any = inotify_simple.INotify(nonblocking=True)
        except (ImportError, OSError) as error:
            raise CannotWatch(f"inotify is not available ({error})") from error
        self._parse: Callable[[bytes], Iterable[tuple[int, int, int, str]]]
        self._parse = inotify_simple.parse_events
        self._flags = inotify_simple.flags
        self._fd: int = self._inotify.fileno()
        queue = select.poll()
        queue.register(self._fd, select.POLLIN)
        self.has_events: Callable[[int], object] = queue.poll
        """Whether something has changed; called with 0, never waits. A third of the cost of an
        empty read, and no Python call."""

    def follow(self, folder: str, path: str) -> None:
        """Watch from now on. Raises ``CannotWatch`` where watches have run out, ``OSError``."""
        flags = self._flags
        mask = flags.CREATE | flags.MODIFY | flags.CLOSE_WRITE | flags.MOVED_TO | flags.MOVED_FROM
        mask |= flags.DELETE | flags.ATTRIB | flags.DELETE_SELF | flags.MOVE_SELF | flags.ONLYDIR
        with self._lock:  # else an event could be read before its folder is known
            try:
                self._folders[self._inotify.add_watch(path, mask)] = folder
            except OSError as error:
                if error.errno in _SCARCE:
                    raise CannotWatch(f"the system allows no more watches ({error})") from error
                raise

    def read(self) -> Marks | None:
        """The changes since the last call; None: there are none. Never waits."""
        if not self.has_events(0):
            return None
        marks = Marks()
        for _ in range(_MAX_EVENT_READS):
            with self._lock:
                for wd, mask, _, name in self._parse(os.read(self._fd, _BUFFER_SIZE)):
                    self._mark(marks, self._folders.get(wd), mask, name)
                    if mask & self._flags.IGNORED:
                        self._folders.pop(wd, None)
            if not self.has_events(0):
                break
        return marks

    def close(self) -> None:
        self._inotify.close()

    def _mark(self, marks: Marks, folder: str | None, mask: int, name: str) -> None:
        flags = self._flags
        itself = flags.DELETE_SELF | flags.MOVE_SELF | flags.UNMOUNT | flags.IGNORED | flags.ATTRIB
        if mask & flags.Q_OVERFLOW or (folder == ROOT_FOLDER and not name and mask & itself):
            marks.everything = True
        elif folder is None or not name:
            return  # of a deleted folder: the event of its parent marks it
        elif mask & flags.ISDIR:
            marks.folders.add(joined(folder, name))
            if looks_like_distribution(name):
                marks.files.add((folder, name))
        elif name == STATUS_FILE:
            marks.folders.add(folder)
        elif name.endswith(YANKED_SUFFIX):
            marks.files.add((folder, name.removesuffix(YANKED_SUFFIX)))
        elif kind_of(name) or looks_like_distribution(name):
            self._mark_file(marks, (folder, name), mask)
            if name.endswith((*EXTRA_SUFFIXES, PROVENANCE)):
                marks.files.add((folder, distribution_of(name)))
        else:
            marks.others = True
            if folder == ROOT_FOLDER and mask & (flags.CREATE | flags.MOVED_TO):
                marks.files.add((folder, name))  # a link to a folder claims its name

    def _mark_file(self, marks: Marks, place: EntryPath, mask: int) -> None:
        marks.files.add(place)
        if mask & self._flags.MODIFY:
            self.writing.add(place)
        elif not mask & self._flags.ATTRIB:
            self.writing.discard(place)
